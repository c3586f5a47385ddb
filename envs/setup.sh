#!/bin/sh
# Make the virtual environment: setup.sh PYTHON FOLDER KIND, with KIND bench or a folder of envs/
# If something is missing, a one-sentence error says what.
python=$1 folder=$2 kind=$3
requirements=envs/$kind/requirements.txt
[ "$kind" != bench ] || requirements=envs/cpu/requirements.txt # and the benchmarks' peers
size="1.5 GB"
case $kind in deploy-gpu* | train-gpu) size="about 10 GB" ;; esac
case $kind in
docs) versions="3.11 3.12" variable=PYTHON size="100 MB" why="the pages are built with the Python of the workflow" ;;
gpu) versions="3.10" variable=GPU_PYTHON size="8 GB" why="TensorRT 8.5.3 exists for Python 3.10, and for no later one" ;;
*) versions="3.11 3.12" variable=PYTHON why="PaddlePaddle 2.6 and Snakemake 9 both exist for 3.11 and 3.12 only" ;;
esac
first=${versions%% *}

fail() {
    echo "error: $1" >&2
    exit 1
}

command -v "$python" >/dev/null 2>&1 ||
    fail "there is no $python; install Python $first, or name one with make $variable=python$first"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
    fail "$python does not start; name another one with make $variable=python$first"
case " $versions " in
*" $version "*) ;;
*) fail "$python is Python $version, but $why; install Python $first and use make $variable=python$first" ;;
esac
[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] ||
    fail "this is $(uname -s) on $(uname -m), but PaddlePaddle and DALI are packaged for Linux on x86_64 only"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python lacks the venv module; install it (on Debian and Ubuntu: apt-get install python$version-venv)"

echo "Installing the environment into $folder ($size, a few minutes, once) ..."
rm -rf "$folder"
"$python" -m venv "$folder" || fail "could not make the virtual environment $folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check --require-hashes --no-deps -r "$requirements" ||
    fail "installation failed, see above; run the same command again when the cause is gone"
if [ "$kind" = train-gpu ]; then
    # PaddlePaddle for GPUs with CUDA 12 is on its vendor's index only, which has no hash for us.
    index=${PADDLE_INDEX:-https://www.paddlepaddle.org.cn/packages/stable/cu129/}
    paddle=paddlepaddle-gpu==$(sed -n 's/^paddlepaddle==//p' envs/paddle3.txt)
    "$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps --index-url "$index" "$paddle" ||
        fail "$paddle could not be installed from $index, see above; name another index with PADDLE_INDEX"
fi
# The package itself, as a link to this folder, so that changes of the code take effect at once.
case $kind in docs | gpu) ;; # the GPU environment only runs programs, which find it beside them
*)
    "$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . ||
        fail "the package twofour could not be installed, see above"
    # Snakemake looks for its plugins in the folders of sys.path, not among linked packages.
    "$folder/bin/python" -c 'import sys, sysconfig
with open(sysconfig.get_path("purelib") + "/twofour_plugins.pth", "w") as file:
    file.write(sys.argv[1])' "$PWD/workflow/plugins" ||
        fail "the logger plugin could not be installed, see above"
    ;;
esac
if [ "$kind" = gpu ]; then
    sh envs/gpu/environment.post-deploy.sh "$folder" || exit 1
elif [ "$kind" = bench ]; then
    "$folder/bin/pip" install --quiet --disable-pip-version-check -r benchmarks/requirements.txt ||
        fail "installation of the peers failed, see above; run the same command again when the cause is gone"
fi
touch "$folder/.installed"
