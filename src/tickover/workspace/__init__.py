"""What a run works on: repositories, layers, artifacts, state.

    git.py       the host's git, with nothing of anybody's configuration
    mirror.py    URL -> bare mirror of ours -> commit
    tree.py      files of a trusted commit, read from the mirror
    shelf.py     sealed folders kept by key, built once, used by many, removed when idle
    sweep.py     after a kill -9, and when the disk fills
    folders.py   small sealed folders: files put, paths emptied
    checkout.py  commit -> sealed working tree, the bottom of /workspace
    layer.py     setup script -> sealed root layer
    artifacts.py what the agent left, copied out
    state.py     the folder state/, carried from run to run
    inside/      the programs that touch a hostile tree; they run in a sandbox, never here

What an agent wrote is opened, walked, unpacked and removed only inside a sandbox. The host parses one bounded
stream of frames (frames.py) and handles whole folders by their name.
"""
