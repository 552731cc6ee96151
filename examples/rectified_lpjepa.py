# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Rectified LpJEPA, step by step
#
# [Rectified LpJEPA](https://arxiv.org/abs/2602.01456) learns image representations that are sparse and
# never negative. This notebook builds it twice: first in plain formulas, so that each step can be read, then from
# the parts of `solo_plugins`, and checks that both agree.
#
# On the digits of scikit-learn it takes about two minutes on a CPU. `DATA = "cifar100"` is the real thing, for a GPU;
# `python main_pretrain.py` is the way to a good network.

# %% [markdown]
# ## 1. Imports and settings

# %%
import math
import time

import matplotlib.pyplot as plt
import numpy as np
import timm
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision import datasets
from torchvision.transforms import v2
from tqdm.auto import tqdm

DATA = "digits"  # or "cifar100", which is downloaded into ./datasets
EPOCHS = 15 if DATA == "digits" else 100
BATCH = 128 if DATA == "digits" else 256
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

P = 1.0  # the shape of the target: 1 is Laplace, 2 is Gaussian
MU = 0.0  # its location: the lower, the sparser
OUTPUTS = 128 if DATA == "digits" else 512
DIRECTIONS = 1024 if DATA == "digits" else 8192
INVARIANCE, REGULARISER = 25.0, 125.0  # the weights of the two terms of the loss

_ = torch.manual_seed(0)

# %% [markdown]
# ## 2. The model ends in a ReLU
#
# A backbone turns an image into features; a projector of three layers turns them into outputs z. Its last layer is a
# **ReLU**: outputs are zero or positive, and a zero is exactly zero. The ReLU belongs to the method: what it
# does to the outputs, the target below does to a known distribution.


# %%
class Model(nn.Module):
    """A ResNet and a projector that ends in a ReLU."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        if DATA == "digits":
            small = {"channels": [16, 32, 64, 128], "stem_width": 16, "replace_stem_pool": False}
            self.backbone = timm.create_model("resnet10t", num_classes=0, **small)
        else:
            self.backbone = timm.create_model("resnet18", num_classes=0)
            self.backbone.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            self.backbone.maxpool = nn.Identity()
        self.projector = nn.Sequential(
            nn.Linear(self.backbone.num_features, outputs),
            nn.BatchNorm1d(outputs),
            nn.ReLU(),
            nn.Linear(outputs, outputs),
            nn.BatchNorm1d(outputs),
            nn.ReLU(),
            nn.Linear(outputs, outputs),
            nn.ReLU(),
        )

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features (N, F) and outputs (N, D)."""
        features = self.backbone(images)
        return features, self.projector(features)


# %% [markdown]
# ## 3. Sampling the prior
#
# The target of each output is a **Rectified Generalized Gaussian**: draw x from a generalized Gaussian
# with density proportional to exp(-|x - mu|^p / (p sigma^p)), and take max(x, 0). With G from
# Gamma(1/p, 1) and a random sign S, x = mu + sigma S (p G)^(1/p). The scale sigma gives x the variance 1.


# %%
def scale_of(p: float) -> float:
    """Return the sigma for which x has the variance 1."""
    return math.sqrt(math.gamma(1 / p) / math.gamma(3 / p)) / p ** (1 / p)


def sample_prior(shape: tuple[int, ...], p: float, mu: float) -> torch.Tensor:
    """Draw from the Rectified Generalized Gaussian."""
    gamma = torch.distributions.Gamma(1 / p, 1.0).sample(shape)
    sign = torch.where(torch.rand(shape) < 0.5, -1.0, 1.0)
    return torch.relu(mu + scale_of(p) * sign * (p * gamma) ** (1 / p))


# %% [markdown]
# The package has the same as a `torch.distributions.Distribution`: its density, its share of zeros and its moments are
# closed formulas. Bars are samples of the formula above, lines are the package's density.

# %%
from solo_plugins import RectifiedGeneralizedGaussian, sigma_gn

figure, axes = plt.subplots(1, 4, figsize=(12, 2.6), layout="constrained")
for axis, (p, mu) in zip(axes, [(1, 0), (2, 0), (1, -1), (0.5, -1)], strict=True):
    prior = RectifiedGeneralizedGaussian(mu, sigma_gn(p), p)
    drawn = sample_prior((100_000,), p, mu)
    positive = drawn[drawn > 0].numpy()
    # 20 bars a unit: a bar's height is the share of all samples in it, times 20
    axis.hist(
        positive, 80, range=(0, 4), weights=np.full_like(positive, 20 / len(drawn)), alpha=0.4
    )
    x = torch.linspace(0.01, 4, 200)
    axis.plot(x, prior.log_prob(x).exp())
    active = float(prior.active_probability)
    axis.set(title=f"p = {p}, mu = {mu}: {100 * active:.0f} % active", xlabel="output", xlim=(0, 4))
    # the share of zeros is known: samples agree within 4 standard errors
    assert abs(float((drawn > 0).float().mean()) - active) < 4 * math.sqrt(
        active * (1 - active) / 1e5
    )
plt.show()

# %% [markdown]
# ## 4. RDMReg: the outputs follow the prior
#
# Two samples of many dimensions are compared along random directions: project both, sort both, and take the mean
# squared difference of values of the same rank. It is zero only if the two projected samples are the same. Averaged
# over many directions this is the *sliced 2-Wasserstein distance*, squared.


# %%
def rdmreg(z: torch.Tensor, target: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """Compute the regulariser of outputs (N, D), a target sample (N, D) and unit rows (K, D)."""
    projected_z, projected_target = z @ directions.T, target @ directions.T
    difference = projected_z.sort(dim=0).values - projected_target.sort(dim=0).values
    return difference.square().mean()


def unit_rows(num: int, dim: int) -> torch.Tensor:
    """Draw directions that are uniform on the sphere."""
    return F.normalize(torch.randn(num, dim), dim=1)


# %% [markdown]
# One direction, drawn: the sorted projections of an untrained sample (uniform numbers) and of the prior. Training closes
# the gap between the two lines, in every direction.

# %%
untrained, wanted = torch.rand(256, OUTPUTS), sample_prior((256, OUTPUTS), P, MU)
direction = unit_rows(1, OUTPUTS)[0]
figure, axis = plt.subplots(figsize=(5, 2.8), layout="constrained")
lower, upper = (untrained @ direction).sort().values, (wanted @ direction).sort().values
axis.plot(lower, label="outputs")
axis.plot(upper, label="prior")
axis.fill_between(range(256), lower, upper, alpha=0.2)
axis.set(xlabel="rank", ylabel="projection")
axis.legend()
plt.show()

# %% [markdown]
# The package's `RDMReg` is the same number and the same gradient, in less time and memory: it draws target and directions
# itself, and computes the gradient with the value.

# %%
from solo_plugins import RandomDirections, RDMReg

ours = RDMReg(RectifiedGeneralizedGaussian(MU, sigma_gn(P), P), RandomDirections(DIRECTIONS))
rows = unit_rows(DIRECTIONS, OUTPUTS)
first, second = untrained.clone().requires_grad_(), untrained.clone().requires_grad_()
plain, packaged = rdmreg(first, wanted, rows), ours(second, target=wanted, projections=rows)
plain.backward()
packaged.backward()
torch.testing.assert_close(packaged, plain)
torch.testing.assert_close(second.grad, first.grad, rtol=1e-3, atol=1e-7)
print(f"plain {plain.item():.6f}, packaged {packaged.item():.6f}")

# %% [markdown]
# ## 5. Data: two views of each image
#
# Each image is changed at random twice. What the two views share is what the network is to keep.


# %%
class TwoViews(Dataset):
    """Two random views of each image, and its label."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, augment: v2.Transform) -> None:
        self.images, self.labels, self.augment = images, labels, augment

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        image = self.images[index]
        return self.augment(image), self.augment(image), self.labels[index]


if DATA == "digits":
    found = load_digits()
    images = torch.tensor(found.images / 16, dtype=torch.float32)[:, None].repeat(1, 3, 1, 1)
    images, labels = F.interpolate(images, 16, mode="bilinear"), torch.tensor(found.target)
    # every fifth image is for the test
    test = torch.arange(len(labels)) % 5 == 4
    train_images, train_labels = images[~test], labels[~test]
    test_images, test_labels = images[test], labels[test]
    # a digit that is mirrored is another one: crops and shifts only
    augment = v2.Compose(
        [v2.RandomResizedCrop(16, scale=(0.5, 1.0)), v2.RandomAffine(15, shear=10)]
    )
else:
    splits = [datasets.CIFAR100("./datasets", train, download=True) for train in (True, False)]
    tensors = [torch.tensor(split.data).permute(0, 3, 1, 2).float() / 255 for split in splits]
    train_images, test_images = tensors
    train_labels, test_labels = (torch.tensor(split.targets) for split in splits)
    augment = v2.Compose(
        [
            v2.RandomResizedCrop(32, scale=(0.2, 1.0)),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
            v2.RandomGrayscale(0.2),
        ]
    )
pairs = TwoViews(train_images, train_labels, augment)
loader = DataLoader(pairs, BATCH, shuffle=True, drop_last=True)

figure, axes = plt.subplots(2, 8, figsize=(8, 2.2), layout="constrained")
for column in range(8):
    for axis, view in zip(axes[:, column], pairs[column][:2], strict=True):
        axis.imshow(view.permute(1, 2, 0), vmin=0, vmax=1)
        axis.axis("off")
plt.show()

# %% [markdown]
# ## 6. The loop
#
# The loss pulls the outputs of the two views together, and those of each view to the prior. The bar shows the loss and
# the share of zeros of the last batch; a line tells of each epoch.

# %%
model = Model(OUTPUTS).to(DEVICE)
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-4)
ours = ours.to(DEVICE)
for epoch in range(1, EPOCHS + 1):
    started, losses, zeros = time.perf_counter(), [], []
    bar = tqdm(loader, desc=f"epoch {epoch}/{EPOCHS}", leave=False)
    for first_view, second_view, _ in bar:
        # one batch of both views: BatchNorm sees them together
        _, z = model(torch.cat([first_view, second_view]).to(DEVICE))
        z1, z2 = z.chunk(2)
        # in plain formulas: (rdmreg(z1, ...) + rdmreg(z2, ...)) / 2
        loss = INVARIANCE * F.mse_loss(z1, z2) + REGULARISER * ours([z1, z2])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        zeros.append((z == 0).float().mean().item())
        bar.set_postfix(loss=f"{losses[-1]:.2f}", zeros=f"{zeros[-1]:.2f}")
    seconds = time.perf_counter() - started
    print(
        f"epoch {epoch}/{EPOCHS}: loss {np.mean(losses):.3f}, zeros {np.mean(zeros):.3f}, {seconds:.0f} s"
    )

# %% [markdown]
# ## 7. Key parameters
#
# | parameter | what it does |
# | --- | --- |
# | `MU` | sparsity: at p = 1 a share exp(mu / sigma) / 2 of outputs is active for mu below 0 |
# | `P` | the tail of the active outputs; at mu = 0 half of them are active for every p |
# | `DIRECTIONS` | how closely each step compares; 512 did as well as 8192 where we measured it |
# | `INVARIANCE`, `REGULARISER` | 25 and 125 in the paper |
# | `OUTPUTS` | the width of the projector |
#
# A trained network is active more often than a target far below zero says. `target_active_fraction` together with
# `threshold_rate` of `main_pretrain.py` bring the share that was asked for.

# %% [markdown]
# ## 8. What came of it
#
# A linear probe and the nearest neighbours, on features and on sparse codes.


# %%
@torch.no_grad()
def encode(images: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Compute features and outputs, batch by batch."""
    model.eval()
    parts = [model(batch.to(DEVICE)) for (batch,) in DataLoader(TensorDataset(images), 256)]
    return tuple(torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))


train, test = encode(train_images), encode(test_images)
for name, x, y in zip(("features", "codes"), train, test, strict=True):
    probe = LogisticRegression(max_iter=1000).fit(x, train_labels).score(y, test_labels)
    nearest = KNeighborsClassifier(20, metric="cosine").fit(x, train_labels).score(y, test_labels)
    print(f"{name:8}: linear probe {100 * probe:.1f} %, nearest neighbours {100 * nearest:.1f} %")

# %% [markdown]
# How many outputs are active in each image, against what the target says:

# %%
codes = test[1]
wanted_share = float(RectifiedGeneralizedGaussian(MU, sigma_gn(P), P).active_probability)
figure, axis = plt.subplots(figsize=(5, 2.6), layout="constrained")
counts = (codes > 0).sum(axis=1)
edges = np.arange(counts.min(), counts.max() + 5, 4) - 0.5  # four counts to a bar
axis.hist(counts / OUTPUTS, bins=edges / OUTPUTS)
axis.axvline(wanted_share, linestyle="--", color="black", label="target")
axis.set(xlabel="share of active outputs", ylabel="images")
axis.legend()
plt.show()
print(f"active {100 * (codes > 0).mean():.1f} %, the target says {100 * wanted_share:.1f} %")

# %% [markdown]
# What an output responds to: the test images that activate it most, for the six outputs that prefer one class
# most clearly.

# %%
classes = np.unique(test_labels)
means = np.stack([codes[test_labels.numpy() == label].mean(axis=0) for label in classes])
preference = means.max(axis=0) / (means.sum(axis=0) + 1e-9)
chosen = preference.argsort()[::-1][:6]
figure, axes = plt.subplots(6, 8, figsize=(6, 4.6), layout="constrained")
for row, output in zip(axes, chosen, strict=True):
    for axis, index in zip(row, codes[:, output].argsort()[::-1][:8], strict=True):
        axis.imshow(test_images[index].permute(1, 2, 0))
        axis.set(xticks=[], yticks=[])
    row[0].set_ylabel(str(output), rotation=0, labelpad=14)
plt.show()
