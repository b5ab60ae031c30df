# Runs /tickover/setup.sh with errors as errors. The trace says on which of its lines it stopped: "++ LINE: COMMAND".
exec 2>&1 # one pipe keeps the order
PS4='+ ${LINENO}: '
set -euxo pipefail
source /tickover/setup.sh
{ set +x; } 2>/dev/null
find /tmp /var/tmp -mindepth 1 -delete
