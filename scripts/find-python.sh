# Sourced by the scripts beside it: sets PYTHON to an interpreter >= 3.11, or says which one command brings one.
# $PYTHON, if set, is tried first.

usable() {
    command -v "$1" > /dev/null 2>&1 && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1
}

ask_for_python() {
    sudo=""
    if [ "$(id -u)" != 0 ]; then
        if command -v sudo > /dev/null 2>&1; then sudo="sudo "; else sudo="su -c "; fi
    fi
    system=" $(. /etc/os-release 2> /dev/null && echo "${ID:-} ${ID_LIKE:-}") "
    case $system in
        *" debian "* | *" ubuntu "*)
            command="apt-get install -y python3 python3-venv"
            if command -v python3 > /dev/null 2>&1; then # there is one, so the distribution's own is too old
                command="apt-get install -y python3.11 python3.11-venv"
            fi
            ;;
        *" fedora "* | *" rhel "* | *" centos "*) command="dnf install -y python3.12" ;;
        *" arch "*) command="pacman -S --noconfirm python" ;;
        *" alpine "*) command="apk add python3 py3-pip" ;;
        *" suse "* | *" opensuse "*) command="zypper --non-interactive install python312" ;;
        *) sudo="" command="PYTHON=/path/to/python3.11 $0" ;;
    esac
    echo "Python >= 3.11 was not found (tried: python3, /usr/bin/python3, python3.11 to python3.14)." >&2
    echo "  why: Tickover is written for it; nothing else of it can run without." >&2
    [ "$sudo" != "su -c " ] || command="'$command'"
    echo "  run: $sudo$command" >&2
}

for candidate in ${PYTHON:+"$PYTHON"} python3 /usr/bin/python3 python3.14 python3.13 python3.12 python3.11; do
    if usable "$candidate"; then
        PYTHON=$candidate
        break
    fi
    candidate=""
done
if [ -z "$candidate" ]; then
    ask_for_python
    exit 1
fi
