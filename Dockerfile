# lungcls on a CPU, with the weights that it ships: the page and the REST service, or any command.
#
#   docker build -t lungcls --build-arg TORCH_INDEX=URL .      URL: the index of torch's CPU builds, from torch's page
#   docker run --rm -p 8000:8000 lungcls                       then open http://127.0.0.1:8000
#   docker run --rm -v "$PWD":/films lungcls predict /films/film.png -o /films/out
#
# Without TORCH_INDEX the default build of torch comes in, which on Linux brings CUDA: several gigabytes more.
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY lungcls lungcls
COPY weights weights
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
ARG TORCH_INDEX=""
COPY --from=build /wheels /wheels
RUN if [ -n "$TORCH_INDEX" ]; then pip install --no-cache-dir --index-url "$TORCH_INDEX" torch torchvision; fi \
    && pip install --no-cache-dir "$(ls /wheels/lungcls-*.whl)[web,onnx]" \
    && rm -r /wheels \
    && useradd --create-home lungcls
USER lungcls
WORKDIR /home/lungcls
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["lungcls"]
CMD ["serve", "--host", "0.0.0.0"]
