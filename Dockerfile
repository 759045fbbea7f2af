# flan_jax for CPUs, NVIDIA GPUs or TPUs, from the pinned, hashed packages of requirements/run.txt.
#   docker build --tag flan-jax:cpu .
#   docker build --tag flan-jax:cuda --build-arg DEVICE=cuda12 .
#   docker build --tag flan-jax:tpu --build-arg DEVICE=tpu .
# The image holds an environment and nothing else: no compiler, no secret, no root. docs/guide/containers.md says more.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS build
ARG DEVICE=cpu
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ENV PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
WORKDIR /build
RUN python -m venv /opt/flan && python -m venv tools

COPY requirements/ requirements/
RUN /opt/flan/bin/pip install --require-hashes --requirement requirements/run.txt
# What JAX needs of a device comes in the versions that the pinned JAX names. Their hashes are in no lock file.
RUN case "$DEVICE" in \
      cpu) ;; \
      cuda12|tpu) \
        grep -oE '^[a-z0-9_.-]+==[^\\]*' requirements/run.txt >constraints.txt; \
        /opt/flan/bin/pip install --constraint constraints.txt "jax[$DEVICE]" ;; \
      *) echo "DEVICE is '$DEVICE'; it must be cpu, cuda12 or tpu" >&2; exit 1 ;; \
    esac
# The backend that builds the package, with the hashes that the development tools are pinned by.
RUN awk '/^[a-z]/ { wanted = /^(hatchling|packaging|pathspec|pluggy|trove-classifiers)==/ } wanted' requirements/dev.txt >backend.txt; \
    tools/bin/pip install --require-hashes --requirement backend.txt

COPY pyproject.toml README.md LICENSE ./
COPY gin/ gin/
COPY mixtures/ mixtures/
COPY flan_jax/ flan_jax/
RUN tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir wheels . && \
    /opt/flan/bin/pip install --no-deps wheels/*.whl && \
    /opt/flan/bin/pip uninstall --yes pip

FROM python:${PYTHON}-slim-bookworm
LABEL org.opencontainers.image.title="flan_jax" org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 1000 flan && \
    useradd --uid 1000 --gid flan --create-home --shell /usr/sbin/nologin flan && \
    mkdir /work && chown flan:flan /work
COPY --from=build /opt/flan /opt/flan
# The driver's libraries are put into the container by NVIDIA's toolkit, which reads these.
ENV PATH=/opt/flan/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /work
USER 1000:1000
CMD ["flan-jax", "--help"]
