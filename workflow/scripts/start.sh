# Start a program of this folder as a job of the workflow: sh start.sh [--gpu] PROGRAM OPTIONS…
# The program replaces this shell, so that Snakemake is its parent, and ends when Snakemake does
# (TWOFOUR_TIED). NumPy gets no threads of its own: one of them might catch a signal while
# PaddlePaddle loads.
export TWOFOUR_TIED=$PPID OPENBLAS_NUM_THREADS=1
# The Python that runs Snakemake, unless Snakemake gives the job an environment of its own; with
# --gpu, the Python of hardware.environment, if that is set: TensorRT and Snakemake may need
# different ones.
python=${TWOFOUR_PYTHON:-python}
if [ "$1" = --gpu ]; then
    shift
    if [ -n "$TWOFOUR_GPU_ENV" ]; then
        python=$TWOFOUR_GPU_ENV/bin/python
        export PATH="$TWOFOUR_GPU_ENV/bin:$PATH"
        export LD_LIBRARY_PATH="$TWOFOUR_GPU_ENV/lib/cuda${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    fi
fi
program=$1
shift
# glibc (2.35 and later) then asks the kernel for huge pages, which a process must be told before it
# starts: training a small network on a CPU becomes up to a tenth faster (benchmarks/README.md).
case $program in
train | measure_training) export GLIBC_TUNABLES="${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}" ;;
esac
exec "$python" "${TWOFOUR%/*}/$program.py" "$@"
