"""What `llamachat serve` is going to run: everything that can be decided and checked before it is started."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from llamachat import paths
from llamachat.cli import console
from llamachat.cli.model_choice import choose
from llamachat.core.engine_options import EngineOptions
from llamachat.core.units import size
from llamachat.errors import ModelError, UsageError
from llamachat.hub import estimate, hardware, local_models, projector
from llamachat.hub.gguf import GGUFHeader
from llamachat.language import _
from llamachat.running import network_key
from llamachat.server import backends, bind, command
from llamachat.server.child import Child
from llamachat.server.readiness import Endpoint
from llamachat.settings.serve import ServeSettings

EMBEDDINGS_N_CTX = 512


@dataclass(frozen=True, slots=True)
class EmbeddingsModel:
    """The one beside the model that chats; `n_ctx` is its longest input in tokens."""

    model: local_models.LocalModel
    n_ctx: int
    need: estimate.Estimate


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is decided before anything is started."""

    model: local_models.LocalModel
    options: command.ServerOptions
    settings: ServeSettings
    api_key: str | None
    parallel: int
    need: estimate.Estimate
    embeddings: EmbeddingsModel | None = None
    mmproj: Path | None = None

    @property
    def endpoint(self) -> Endpoint:
        host = bind.reachable_host(self.options.host)
        scheme, port = self.options.scheme, self.options.port
        return Endpoint(scheme, host, port, self.api_key, embeds=self.options.embedding)

    @property
    def base_url(self) -> str:
        return bind.base_url(self.options.scheme, self.endpoint.host, self.options.port)

    @property
    def connection(self) -> dict[str, str]:
        """The settings with which a chat reaches the server."""
        return {"base_url": self.base_url, "api_key": self.api_key or "not-needed"}

    def launch(self, restarts: int) -> Child:
        plain = self.settings.plain
        engine = None if plain else _engine_options(self, restarts)
        env = command.child_env(os.environ, self.api_key, engine)
        run = command.plain_command(self.options) if plain else command.engine_command(self.options)
        return Child(run, env, watched=not plain, echo=console.say if self.settings.verbose else None)


def prepare(settings: ServeSettings, extra: list[str]) -> Plan:
    """Check everything that can be checked before the model is loaded."""
    model = choose(settings.model, local_models.places(settings.folder))
    header = local_models.check(model)
    port = bind.claim(settings.host, settings.port)
    options = server_options(settings, model, port, extra, header)
    embeddings = _embeddings_model(settings)
    one = estimate.estimate(header, options.n_ctx)
    own_memory = bool(options.n_gpu_layers) and backends.has_own_memory()
    mmproj = _projector(settings, model)
    if mmproj is not None:
        one = one.with_weights(projector.check(mmproj))
    parallel = _parallel(settings, one, own_memory, sees=mmproj is not None)
    need = one.times(parallel)
    if embeddings is not None:
        need = need.plus(embeddings.need)
    if not settings.force and not own_memory:
        _check_memory(model, need)
    if options.n_ctx > settings.n_ctx:
        rounded = _("{n_ctx}, a multiple of {n_ctx_step}").format(
            n_ctx=options.n_ctx, n_ctx_step=command.N_CTX_STEP
        )
        console.say(
            _("n_ctx {n_ctx} is rounded up to {rounded}.").format(n_ctx=settings.n_ctx, rounded=rounded)
        )
    _check_window(header, options.n_ctx)
    key = settings.api_key
    if not key and not bind.is_loopback(settings.host):
        key = network_key(paths.network_key_file())
    return Plan(model, options, settings, key, parallel, need, embeddings, mmproj)


def _embeddings_model(settings: ServeSettings) -> EmbeddingsModel | None:
    if settings.embeddings is None:
        return None
    if settings.plain:
        raise UsageError(
            _("--plain runs the bare server, which has no --embeddings."), _("Leave one of them out.")
        )
    model = local_models.resolve(settings.embeddings, local_models.places(settings.folder))
    header = local_models.check(model)
    n_ctx = _longest_input(settings, header)
    need = estimate.estimate(header, n_ctx, n_ubatch=n_ctx)
    return EmbeddingsModel(model, n_ctx, need)


def _longest_input(settings: ServeSettings, header: GGUFHeader) -> int:
    """In tokens; most models of embeddings have no positions behind those that they were trained for."""
    return min(command.round_n_ctx(settings.n_ctx), header.n_ctx_train or EMBEDDINGS_N_CTX)


def _projector(settings: ServeSettings, model: local_models.LocalModel) -> Path | None:
    """What the model sees with: the file that was named, else the one beside it."""
    if settings.plain or settings.mmproj == "none":
        return None
    return Path(settings.mmproj).expanduser() if settings.mmproj else projector.beside(model)


def server_options(
    settings: ServeSettings,
    model: local_models.LocalModel,
    port: int,
    extra: list[str],
    header: GGUFHeader,
) -> command.ServerOptions:
    layers = settings.n_gpu_layers
    if layers is None:
        layers = -1 if backends.gpu_backends() else 0
    embeds = header.makes_embeddings
    return command.ServerOptions(
        model=model.path,
        host=settings.host,
        port=port,
        n_ctx=_longest_input(settings, header) if embeds else command.round_n_ctx(settings.n_ctx),
        n_threads=settings.n_threads or hardware.usable_cores(),
        n_threads_batch=settings.n_threads or hardware.usable_cores(round_up=True),
        n_gpu_layers=layers,
        embedding=embeds,
        extra=tuple(extra),
    )


def _engine_options(plan: Plan, restarts: int) -> EngineOptions:
    settings, beside = plan.settings, plan.embeddings
    return EngineOptions(
        host=settings.host,
        model_name=plan.model.name,
        bundled=plan.model.bundled,
        adapt_threads=settings.n_threads is None,
        spare_cores=hardware.physical_cores() - hardware.usable_cores(),
        chats=not plan.options.embedding,
        embeddings=str(beside.model.path) if beside else None,
        embeddings_name=beside.model.name if beside else "",
        embeddings_n_ctx=beside.n_ctx if beside else EMBEDDINGS_N_CTX,
        mmproj=str(plan.mmproj.absolute()) if plan.mmproj else None,
        parallel=plan.parallel,
        kv_shift=settings.kv_shift,
        kv_park=_park_bytes(plan),
        cache_dir=str(paths.kv_cache_folder()) if settings.keep else None,
        cors_origins=settings.cors_origin,
        max_queue=settings.max_queue,
        restarts=restarts,
        parent_pid=os.getpid(),
    )


def _park_bytes(plan: Plan) -> int:
    if plan.settings.kv_park is not None:
        return plan.settings.kv_park
    return estimate.default_kv_park(plan.need, hardware.look().available)


def _check_window(header: GGUFHeader, n_ctx: int) -> None:
    trained = header.n_ctx_train
    if trained and n_ctx > trained:
        console.say(
            _("Warning: n_ctx {n_ctx} is more than the {trained} that the model was trained for.").format(
                n_ctx=n_ctx, trained=trained
            )
        )


def _parallel(settings: ServeSettings, one: estimate.Estimate, own_memory: bool, *, sees: bool) -> int:
    """How many requests are served at once; the engine itself says why it is one if more were asked for."""
    if settings.plain:
        return 1
    if settings.parallel == "auto":
        return estimate.served(one, hardware.look().available, alone=own_memory or sees)[0]
    return settings.parallel


def _check_memory(model: local_models.LocalModel, need: estimate.Estimate) -> None:
    free = hardware.look().available
    if need.total > free:
        raise ModelError(
            _("{name} needs about {needed} of memory, and {free} is free.").format(
                name=model.name, needed=size(need.total), free=size(free)
            ),
            _(
                "Close programs, lower --n-ctx or --parallel, choose a smaller model, "
                "or continue with --force."
            ),
        )
