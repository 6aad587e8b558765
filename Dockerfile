# vlmatch on a GPU machine. The locked torch brings its own CUDA libraries; the host needs NVIDIA's driver and container toolkit.
FROM python:3.11-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /app

COPY requirements.lock ./
RUN python -m pip install --require-hashes -r requirements.lock

COPY . .
RUN python -m pip install --no-deps --no-build-isolation --editable . \
    && useradd --uid 1000 --create-home vlmatch \
    && install --directory --mode=0777 /work \
    && printf '%s\n' '# @package _global_' 'outputs: /work/outputs' 'data: /work/data' 'tracking: {folder: /work/mlruns}' \
       > conf/local/default.yaml

# Everything that is written lies in /work: models, embeddings, reports, MLflow's runs (trainings: task.runs=/work/training).
# Any user id may run the image. trainer.compile=true needs a C compiler, which it lacks.
ENV HOME=/work USER=vlmatch LOGNAME=vlmatch VLMATCH_CACHE=/work/cache MLFLOW_DISABLE_TELEMETRY=true
VOLUME /work
USER 1000
ENTRYPOINT ["python", "/app/src/run.py"]
CMD ["--help"]
