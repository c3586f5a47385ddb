"""A machine with a GPU for rehearsals: this folder and the one above in PYTHONPATH, bin in PATH.

What runs there finds nvidia-smi, the CUDA driver and TensorRT (the version in REHEARSED_TENSORRT),
all stand-ins. So the programs that are for GPUs alone (tests/gpu, benchmarks/engines.py) can be
run from beginning to end without one; their figures mean nothing. From the root of the repository:

    export PATH=$PWD/tests/rehearsal/bin:$PATH PYTHONPATH=$PWD/tests/rehearsal:$PWD/tests
    REHEARSED_TENSORRT=11.4.0.106 python -m pytest tests/gpu/test_gpu_tensorrt.py

and likewise python -m twofour.snakemake preview with a configuration that lists tensorrt_sparse.
"""

import os

import doubles

VERSION = os.environ.get("REHEARSED_TENSORRT", "10.16.1.11")
# As bin/nvidia-smi says it.
DRIVER = doubles.Driver(
    {"name": "Rehearsed GPU", "driver_version": "580.1", "compute_cap": "9.0"},
)
