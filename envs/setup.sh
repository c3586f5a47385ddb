#!/bin/sh
# Make the virtual environment: setup.sh PYTHON FOLDER REQUIREMENTS
# One sentence says what is missing, where something is.
python=$1 folder=$2 requirements=$3

fail() {
    echo "error: $1" >&2
    exit 1
}

command -v "$python" >/dev/null 2>&1 ||
    fail "there is no $python; install Python 3.11 or 3.12, or name one with make PYTHON=python3.12"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
    fail "$python does not start; name another one with make PYTHON=python3.11"
case $version in
3.11 | 3.12) ;;
*) fail "$python is Python $version, but PaddlePaddle 2.6 and Snakemake 9 both exist for 3.11 and 3.12 only; install one of these and use make PYTHON=python3.11" ;;
esac
[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] ||
    fail "this is $(uname -s) on $(uname -m), but PaddlePaddle and DALI are packaged for Linux on x86_64 only"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python lacks the venv module; install it (on Debian and Ubuntu: apt-get install python$version-venv)"

echo "Installing the environment into $folder (1.5 GB, a few minutes, once) ..."
rm -rf "$folder"
"$python" -m venv "$folder" || fail "could not make the virtual environment $folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check --require-hashes --no-deps -r "$requirements" ||
    fail "installation failed, see above; run the same command again when the cause is gone"
touch "$folder/.installed"
