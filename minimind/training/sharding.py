"""A model in shards: each process keeps a part of every weight, gradient and moment (FSDP2), for models too large for one.

A block's weights are put together when it computes and forgotten again. Where a checkpoint is saved the first process
has the whole model in main memory, so that it stays one ``model.safetensors`` that chats; the optimiser's moments, twice
its size, are written in shards by torch.distributed.checkpoint, and read back into any number of processes. Its files
are safetensors: the default ones are pickles, and are not checked for damage, where ours stand in the manifest.
Zhao et al. 2023, "PyTorch FSDP", section 3; Rajbhandari et al. 2020, "ZeRO", section 5.3.
"""

from __future__ import annotations

import copy
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from minimind.config import TrainConfig
from minimind.errors import UserError
from minimind.model.transformer import MiniMind
from minimind.training.checkpoint import CheckpointError
from minimind.training.group import Group
from minimind.training.optim import Optimizer

_ASIDE = ".shards"
_SUFFIX = ".safetensors"


class ShardedOptimizer(Optimizer):
    """AdamW on a model of which this process has a shard. The float32 shards are what is trained; what computes is
    `dtype`, put together from roundings of them, and the gradients are added up in float32.
    """

    def __init__(
        self,
        model: MiniMind,
        config: TrainConfig,
        dtype: torch.dtype,
        extra: Mapping[str, nn.Parameter],
        group: Group,
    ) -> None:
        """Raises UserError for what a model in shards does not do here."""
        if extra or not all(parameter.requires_grad for parameter in model.parameters()):
            raise UserError(
                "sharding = 'fsdp' trains all weights of one model: with LoRA or a critic use sharding = 'none'",
                "sharding = 'fsdp' 只用于训练一个模型的全部权重：使用 LoRA 或评论模型时请用 sharding = 'none'",
            )
        self._group = group
        self._whole = copy.deepcopy(model).cpu() if group.first else model
        self._files: dict[str, Path] = {}
        _shard(model, dtype, group.size)
        super().__init__(model, config, torch.float32)

    @property
    def whole(self) -> MiniMind:
        return self._whole

    @torch.no_grad()
    def gather(self, aside: Path | None = None) -> None:
        for name, parameter in self.model.named_parameters():
            value = _whole(parameter)
            if self._group.first:
                self._whole.get_parameter(name).copy_(value)
        if aside is not None:
            self._files = self._write_moments(aside / _ASIDE)

    def files(self) -> dict[str, Path]:
        return dict(self._files)

    def scaled(self, loss: Tensor) -> Tensor:
        return loss * self._group.size  # FSDP takes the mean over the processes, an update wants the sum

    def exchange(self, group: Group) -> None:
        del group  # FSDP has done it in the backward pass

    def clip_gradients(self) -> float:
        return float(_whole(nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)))

    def finite(self) -> bool:
        return (
            self._group.total(not all(bool(torch.isfinite(_own(item)).all()) for item in self.model.parameters())) == 0
        )

    def state_tensors(self) -> dict[str, Tensor]:
        return {}

    @torch.no_grad()
    def load_weights(self, tensors: Mapping[str, Tensor]) -> None:
        for name, parameter in self.model.named_parameters():
            _own(parameter).copy_(_own(_like(parameter, tensors[name])))

    def room(self) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for name, parameter in self.model.named_parameters():
            moments = {what: torch.zeros_like(parameter) for what in ("exp_avg", "exp_avg_sq")}
            found |= {f"{name}|{what}": moment.detach() for what, moment in moments.items()}
            found[f"{name}|step"] = torch.zeros((), dtype=torch.float32)
        return found

    def _take_moment(self, master: Tensor, what: str, value: Tensor) -> None:
        sharded = value if what == "step" or isinstance(value, DTensor) else _like(master, value)
        super()._take_moment(master, what, sharded)

    def _write_moments(self, directory: Path) -> dict[str, Path]:
        """Let every process write its shard into `directory`; returns the files. Raises CheckpointError in all of them."""
        self._group.by_first(lambda: _empty(directory))
        writer = HuggingFaceStorageWriter(str(directory), save_distributed=True)
        try:
            save(super().state_tensors(), storage_writer=writer)
        except CheckpointException as error:
            said = "; ".join(str(failure) for failure, _ in error.failures.values())
            raise CheckpointError(
                f"{directory}: the shards could not be saved: {said}; the earlier checkpoints are kept",
                f"{directory}：分片没有存成：{said}；之前的检查点都还在",
            ) from error
        written = sorted(directory.glob(f"*{_SUFFIX}"))
        return {f"optimizer-shard-{index + 1:05d}{_SUFFIX}": path for index, path in enumerate(written)}


def read_moments(directory: Path, room: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The moments that the shards in a checkpoint's `directory` hold, by name; empty where it has none.

    `room` has tensors of the shapes and shards they are wanted in; where it is empty they come whole.
    """
    found = sorted(directory.glob(f"optimizer-shard-*{_SUFFIX}"))
    if not found:
        return {}
    with tempfile.TemporaryDirectory() as apart, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # one process reads alone
        for path in found:  # the reader takes all that is in a directory
            (Path(apart) / path.name).symlink_to(path.absolute())
        reader = HuggingFaceStorageReader(apart)
        tensors = dict(room)
        if not tensors:
            for name, about in reader.read_metadata().state_dict_metadata.items():
                if isinstance(about, TensorStorageMetadata):
                    tensors[name] = torch.zeros(about.size, dtype=about.properties.dtype)
        load(tensors, storage_reader=HuggingFaceStorageReader(apart), no_dist=not room)
    return tensors


def _shard(model: MiniMind, dtype: torch.dtype, size: int) -> None:
    """Part the weights of `model` over `size` processes: each block is put together by itself, the rest at once."""
    device = next(model.parameters()).device.type
    mesh = init_device_mesh(device, (size,))
    policy = MixedPrecisionPolicy(
        param_dtype=None if dtype == torch.float32 else dtype, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    for block in model.model.layers:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    register_fsdp_forward_method(model, "hidden")  # what the losses call


def _whole(tensor: Tensor) -> Tensor:
    """The tensor put together from all its shards."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _own(tensor: Tensor) -> Tensor:
    """This process's shard."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    """`value`, which every process has whole, in shards as `parameter` is."""
    assert isinstance(parameter, DTensor)
    return distribute_tensor(
        value.to(parameter.device), parameter.device_mesh, parameter.placements, src_data_rank=None
    )


def _empty(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
