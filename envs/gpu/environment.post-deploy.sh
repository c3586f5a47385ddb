#!/bin/sh
# Make FOLDER/lib/cuda in a new environment: environment.post-deploy.sh FOLDER
# PaddlePaddle opens CUDA's libraries by unversioned names, which the packages lack, and searches no
# folder of its own. With FOLDER/lib/cuda in LD_LIBRARY_PATH it finds them all. Snakemake runs a
# script of this name, without FOLDER, after it has created a conda environment.
folder=${1:-${CONDA_PREFIX:-}}

fail() {
    echo "error: $1" >&2
    exit 1
}

[ -n "$folder" ] || fail "name the folder of the environment"
folder=$(cd "$folder" && pwd) || fail "there is no folder $1"
libraries=$folder/lib/cuda
packages=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))') ||
    fail "$folder/bin/python does not start"
rm -rf "$libraries"
mkdir -p "$libraries" || fail "could not make the folder $libraries"
for file in "$packages"/nvidia/*/lib/*.so* "$packages"/tensorrt/libnv*.so*; do
    [ -e "$file" ] || continue
    name=${file##*/}
    # Relative, since the environment may be seen under another path in a container.
    ln -sf "../../${file#"$folder/"}" "$libraries/$name"
    ln -sf "$name" "$libraries/${name%%.so*}.so"
done
[ -e "$libraries/libcudnn.so" ] ||
    fail "$packages holds no CUDA libraries; install envs/gpu/requirements.txt there"
if [ $# -eq 0 ]; then
    mkdir -p "$folder/etc/conda/activate.d"
    echo 'export LD_LIBRARY_PATH="$CONDA_PREFIX/lib/cuda${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"' \
        >"$folder/etc/conda/activate.d/cuda.sh"
fi
