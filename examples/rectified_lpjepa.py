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
# [Rectified LpJEPA](https://arxiv.org/abs/2602.01456) learns image representations without labels that are **sparse**
# (many of their numbers are exactly zero) and never negative. A network sees two changed views of each image. It learns to give both
# the same outputs (a *joint-embedding predictive architecture*, JEPA), while all outputs together must follow a chosen distribution,
# the *target*. The target has zeros, so the outputs get zeros too.
#
# This notebook writes the target and the regulariser in plain formulas first, so that each step can be read, then takes
# them from `solo_plugins` and checks that both agree.
#
# On the digits of scikit-learn it takes about a minute on a CPU. `DATA = "cifar100"` is the real thing, for a GPU. Words are
# explained in the [glossary](../docs/glossary.md).

# %% [markdown]
# ## 1. Imports and settings
#
# Change a setting, run this cell again, and then all cells from section 5 on.

# %%
import copy
import math
import sys
import time

import matplotlib.pyplot as plt
import numpy as np
import timm
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision import datasets
from torchvision.transforms import v2
from tqdm import tqdm

from solo_plugins import (
    RandomDirections,
    RDMReg,
    RectifiedGeneralizedGaussian,
    sigma_gn,
)

DATA = "digits"  # or "cifar100"
FOLDER = "datasets"  # of CIFAR-100, below where the notebook runs
IMAGES = None  # how many images to train on; None: all of them
EPOCHS = 15 if DATA == "digits" else 100
BATCH = 128 if DATA == "digits" else 256
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

P = 1.0  # the shape of the target: 1 is Laplace, 2 is Gaussian
MU = 0.0  # where its peak is: the lower, the more zeros
OUTPUTS = 128 if DATA == "digits" else 512
DIRECTIONS = 1024 if DATA == "digits" else 8192
INVARIANCE, REGULARISER = 25.0, 125.0  # the weights in the loss
SEED = 0

if DATA not in ("digits", "cifar100"):
    raise ValueError(f"Expected DATA to be digits or cifar100, got {DATA!r}.")
if not P > 0:
    raise ValueError(f"Expected P to be positive but got {P}.")
_ = torch.manual_seed(SEED)

# %% [markdown]
# ## 2. The model ends in a ReLU
#
# A backbone turns an image into *features*. A projector of three layers turns those into *outputs* z, which are also called
# the *code* of the image. The projector's last layer is a **ReLU**: outputs are zero or positive, and a zero is exactly
# zero. An output that is not zero is *active*.


# %%
class Model(nn.Module):
    """A ResNet and a projector that ends in a ReLU."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        if DATA == "digits":
            self.backbone = timm.create_model(
                "resnet10t",
                num_classes=0,
                channels=[16, 32, 64, 128],
                stem_width=16,
                replace_stem_pool=False,
            )
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

    def forward(
        self, images: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features (N, F) and outputs (N, D)."""
        features = self.backbone(images)
        return features, self.projector(features)


# %% [markdown]
# ## 3. Sampling the prior
#
# The target of each output, in the paper's words its prior, is a **Rectified Generalized Gaussian**. Draw a number x from the
# generalized Gaussian, whose density is proportional to
#
# $$\exp\left(-\frac{|x - \mu|^p}{p \, \sigma^p}\right),$$
#
# and take max(x, 0), as the ReLU does. The exponent p is the shape (`P`), $\mu$ the place of the peak (`MU`), and $\sigma$ the
# width, chosen so that x has the variance 1. To draw x, take G from the Gamma distribution of shape 1/p and scale 1 and a random
# sign S: then $x = \mu + \sigma S \, (p \, G)^{1/p}$.


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
# closed formulas. Bars are samples of the formula above, lines are the package's density. The area below a line is the share of
# outputs that are not zero.

# %%
figure, axes = plt.subplots(
    1, 4, figsize=(12, 2.8), layout="constrained", sharey=True
)
for axis, (p, mu) in zip(
    axes, [(1, 0), (2, 0), (1, -1), (0.5, -1)], strict=True
):
    prior = RectifiedGeneralizedGaussian(loc=mu, scale=sigma_gn(p), p=p)
    drawn = sample_prior((100_000,), p, mu)
    positive = drawn[drawn > 0].numpy()
    # 20 bars a unit: a bar's height is the share of all samples in it, times 20
    height = np.full_like(positive, 20 / len(drawn))
    axis.hist(
        positive, 80, range=(0, 4), weights=height, alpha=0.4, label="samples"
    )
    x = torch.linspace(0.01, 4, 200)
    axis.plot(x, prior.log_prob(x).exp(), label="density")
    active = float(prior.active_probability)
    axis.set(
        title=f"p = {p}, mu = {mu}: {100 * (1 - active):.0f} % zeros",
        xlabel="output",
        xlim=(0, 4),
    )
    # the share of zeros is known: samples agree within 4 standard errors
    error = math.sqrt(active * (1 - active) / len(drawn))
    assert abs(float((drawn > 0).float().mean()) - active) < 4 * error
axes[0].set_ylabel("density")
axes[0].legend()
plt.show()

# %% [markdown]
# ## 4. RDMReg: the outputs follow the target
#
# RDMReg, *rectified distribution matching*, compares two samples of many dimensions along random directions: project both on a
# direction, sort both, and take the mean squared difference of values of the same rank. That difference is zero only if both
# samples look the same along this direction; two distributions that look the same along every direction are the same. The mean
# over many directions is the *sliced 2-Wasserstein distance*, squared. The target's sample is drawn anew at every step.


# %%
def rdmreg(
    z: torch.Tensor, target: torch.Tensor, directions: torch.Tensor
) -> torch.Tensor:
    """Compare outputs (N, D) with a sample (N, D) along unit rows (K, D)."""
    projected_z, projected_target = z @ directions.T, target @ directions.T
    ranked_z = projected_z.sort(dim=0).values
    ranked_target = projected_target.sort(dim=0).values
    return (ranked_z - ranked_target).square().mean()


def unit_rows(num: int, dim: int) -> torch.Tensor:
    """Draw directions that are uniform on the sphere."""
    return F.normalize(torch.randn(num, dim), dim=1)


# %% [markdown]
# The package's `RDMReg` gives the same number and the same gradient. Here both get the same sample and directions; in training it
# draws them itself.

# %%
packaged = RDMReg(
    RectifiedGeneralizedGaussian(loc=MU, scale=sigma_gn(P), p=P),
    RandomDirections(num_projections=DIRECTIONS),
)
uniform = torch.rand(256, OUTPUTS)
sample = sample_prior((256, OUTPUTS), P, MU)
rows = unit_rows(DIRECTIONS, OUTPUTS)
first = uniform.clone().requires_grad_()
second = uniform.clone().requires_grad_()
ours = rdmreg(first, sample, rows)
theirs = packaged(second, target=sample, projections=rows)
ours.backward()
theirs.backward()
torch.testing.assert_close(theirs, ours)
torch.testing.assert_close(second.grad, first.grad, rtol=1e-3, atol=1e-7)
print(
    f"in plain formulas {ours.item():.6f}, by the package {theirs.item():.6f}"
)

# %% [markdown]
# ## 5. Data: two views of each image
#
# Each image is changed at random twice. What the two views share is what the network is to keep. The official files of
# CIFAR-100 are taken from `FOLDER`, or downloaded into it.


# %%
class TwoViews(Dataset):
    """Two random views of each image, and its label."""

    def __init__(
        self, images: torch.Tensor, labels: torch.Tensor, augment: v2.Transform
    ) -> None:
        self.images, self.labels, self.augment = images, labels, augment

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        image = self.images[index]
        return self.augment(image), self.augment(image), self.labels[index]


if DATA == "digits":
    SIZE = 16
    found = load_digits()
    images = torch.tensor(found.images / 16, dtype=torch.float32)
    images = images[:, None].repeat(1, 3, 1, 1)  # three channels
    images = F.interpolate(images, SIZE, mode="bilinear")
    labels = torch.tensor(found.target)
    # every fifth image is for the test
    test = torch.arange(len(labels)) % 5 == 4
    train_images, train_labels = images[~test], labels[~test]
    test_images, test_labels = images[test], labels[test]
    # a digit that is mirrored is another one: crops and shifts only
    augment = v2.Compose(
        [
            v2.RandomResizedCrop(SIZE, scale=(0.5, 1.0)),
            v2.RandomAffine(15, shear=10),
        ]
    )
else:
    SIZE = 32
    splits = [
        datasets.CIFAR100(FOLDER, train, download=True)
        for train in (True, False)
    ]
    train_images, test_images = (
        torch.tensor(split.data).permute(0, 3, 1, 2).float() / 255
        for split in splits
    )
    train_labels, test_labels = (
        torch.tensor(split.targets) for split in splits
    )
    augment = v2.Compose(
        [
            v2.RandomResizedCrop(SIZE, scale=(0.2, 1.0)),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
            v2.RandomGrayscale(0.2),
        ]
    )
train_images, train_labels = train_images[:IMAGES], train_labels[:IMAGES]
pairs = TwoViews(train_images, train_labels, augment)

figure, axes = plt.subplots(2, 8, figsize=(8, 2.2), layout="constrained")
for column in range(8):
    for axis, view in zip(axes[:, column], pairs[column][:2], strict=True):
        axis.imshow(view.permute(1, 2, 0), vmin=0, vmax=1)
        axis.axis("off")
plt.show()

# %% [markdown]
# ## 6. The loop
#
# With the outputs $z_1$ and $z_2$ of the two views, the loss is
#
# $$25 \cdot \text{mean} \, (z_1 - z_2)^2 + 125 \cdot \tfrac{1}{2} \left(\text{RDMReg}(z_1) + \text{RDMReg}(z_2)\right).$$
#
# The first term pulls the two views of an image together. Alone it would be content with the same outputs for all images. The
# second keeps the network from that, since the target is spread out: try `REGULARISER = 0`.
#
# The bar shows the loss and the share of zeros in the last batch; a line tells of each epoch.

# %%
torch.manual_seed(SEED)
model = Model(OUTPUTS).to(DEVICE)
untrained = copy.deepcopy(model)
regulariser = RDMReg(
    RectifiedGeneralizedGaussian(loc=MU, scale=sigma_gn(P), p=P),
    RandomDirections(num_projections=DIRECTIONS),
)
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-4)
loader = DataLoader(pairs, BATCH, shuffle=True, drop_last=True)
if not len(loader):
    raise ValueError(
        f"Expected BATCH to be at most the number of images, {len(pairs)}, got {BATCH}."
    )


def plain(z1: torch.Tensor, z2: torch.Tensor) -> torch.Tensor:
    """Do what `regulariser` does, by the formulas above."""
    rows = unit_rows(DIRECTIONS, OUTPUTS).to(DEVICE)
    one, other = (sample_prior(z1.shape, P, MU).to(DEVICE) for _ in range(2))
    return (rdmreg(z1, one, rows) + rdmreg(z2, other, rows)) / 2


with tqdm(
    total=EPOCHS * len(loader), leave=False, file=sys.stdout, mininterval=1
) as bar:
    for epoch in range(1, EPOCHS + 1):
        started, losses, zeros = time.perf_counter(), [], []
        for first_view, second_view, _ in loader:
            # one batch of both views: BatchNorm sees them together
            _, z = model(torch.cat([first_view, second_view]).to(DEVICE))
            z1, z2 = z.chunk(2)
            # or plain(z1, z2), which is slower
            matched = regulariser([z1, z2])
            loss = INVARIANCE * F.mse_loss(z1, z2) + REGULARISER * matched
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            zeros.append((z == 0).float().mean().item())
            bar.set_postfix(
                loss=f"{losses[-1]:.2f}",
                zeros=f"{zeros[-1]:.2f}",
                refresh=False,
            )
            bar.update()
        bar.write(
            f"epoch {epoch}/{EPOCHS}: loss {np.mean(losses):.3f}, "
            f"zeros {np.mean(zeros):.3f}, {time.perf_counter() - started:.0f} s"
        )

# %% [markdown]
# Three directions, drawn: the sorted projections of the test images' outputs before and after training, and of the target.
# Training moves the outputs' line towards the target's, in every direction a little.


# %%
@torch.no_grad()
def encode(
    model: nn.Module, images: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Compute features and outputs, batch by batch."""
    model.eval()
    batches = DataLoader(TensorDataset(images), 256)
    parts = [model(batch.to(DEVICE)) for (batch,) in batches]
    features, outputs = (torch.cat(part) for part in zip(*parts, strict=True))
    return features.cpu().numpy(), outputs.cpu().numpy()


@torch.no_grad()
def gather_statistics(model: nn.Module) -> None:
    """Let BatchNorm see images, as it does in training."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None  # a mean over all batches
    model.train()
    for first_view, _, _ in loader:
        model(first_view.to(DEVICE))


gather_statistics(untrained)
untrained_features, before = encode(untrained, test_images)
features, codes = encode(model, test_images)
target = sample_prior((len(codes), OUTPUTS), P, MU).numpy()
figure, axes = plt.subplots(
    1, 3, figsize=(9, 2.8), layout="constrained", sharey=True
)
for axis, direction in zip(axes, unit_rows(3, OUTPUTS).numpy(), strict=True):
    for name, some in {
        "before": before,
        "after": codes,
        "target": target,
    }.items():
        style = "--" if name == "target" else "-"
        axis.plot(np.sort(some @ direction), style, label=name)
    axis.set(xlabel="rank")
axes[0].set_ylabel("projection")
axes[0].legend()
plt.show()

# %% [markdown]
# ## 7. Key parameters
#
# | parameter | what it does |
# | --- | --- |
# | `MU` | zeros: below 0 and at p = 1 the target has a share exp(mu / sigma) / 2 of active outputs |
# | `P` | the tail of the target; at mu = 0 half of the target is zero for every p |
# | `DIRECTIONS` | how closely each step compares ([what fewer of them cost](../docs/performance.md)) |
# | `INVARIANCE`, `REGULARISER` | 25 and 125 in the paper |
# | `OUTPUTS` | the width of the projector |
#
# A trained network comes near to its target, not onto it. The further `MU` is below 0, the more outputs are active than the target
# says, some outputs are never active, and some images have no active output: the next section counts them, try `MU = -2`.
# `main_pretrain.py` keeps the share that you ask for with `++method_kwargs.target_active_fraction=0.1
# ++method_kwargs.threshold_rate=0.05`: see [sparse codes](../docs/sparsity.md).

# %% [markdown]
# ## 8. What came of it
#
# How well do features and codes (the outputs) tell the classes of test images? By a logistic regression on standardised values (a
# *linear probe*), and by the nearest neighbours (kNN). The digits are so small that their pixels alone do better: compare with the
# same network before training, or try CIFAR-100. Another seed, number of threads or machine moves most of these numbers by up to
# some points, and the untrained network's neighbours by ten.

# %%
kinds = {
    "features": (encode(model, train_images)[0], features),
    "codes": (encode(model, train_images)[1], codes),
    "features, untrained": (
        encode(untrained, train_images)[0],
        untrained_features,
    ),
}
if DATA == "digits":  # of CIFAR-100 this takes long
    kinds["pixels"] = (
        train_images.flatten(1).numpy(),
        test_images.flatten(1).numpy(),
    )
for name, (x, y) in kinds.items():
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    probe.fit(x, train_labels)
    nearest = KNeighborsClassifier(20, metric="cosine").fit(x, train_labels)
    print(
        f"{name:20} linear probe {100 * probe.score(y, test_labels):.1f} %, "
        f"nearest neighbours {100 * nearest.score(y, test_labels):.1f} %"
    )

# %% [markdown]
# How many outputs are active in each image, against what the target says:

# %%
target_share = float(
    RectifiedGeneralizedGaussian(
        loc=MU, scale=sigma_gn(P), p=P
    ).active_probability
)
counts = (codes > 0).sum(axis=1)
step = max(1, OUTPUTS // 32)
edges = np.arange(counts.min(), counts.max() + step + 1, step) - 0.5
figure, axis = plt.subplots(figsize=(5, 2.6), layout="constrained")
axis.hist(counts / OUTPUTS, bins=edges / OUTPUTS)
axis.axvline(target_share, linestyle="--", color="black", label="target")
axis.set(xlabel="share of active outputs", ylabel="images")
axis.legend()
plt.show()
print(
    f"active {100 * (codes > 0).mean():.1f} %, "
    f"the target says {100 * target_share:.1f} %"
)
print(
    f"outputs that are never active: {(codes.max(axis=0) == 0).sum()} of {OUTPUTS}"
)
print(f"images without an active output: {(counts == 0).sum()} of {len(codes)}")

# %% [markdown]
# What an output responds to. Of the outputs that are active in at least 8 images these are the six that prefer one class most, each
# with the 8 images that activate it most. Labels chose the rows; training saw none. A row of one class is an output that has come
# to stand for it.

# %%
classes = test_labels.numpy()
means = np.stack([codes[classes == c].mean(axis=0) for c in np.unique(classes)])
preference = means.max(axis=0) / (means.sum(axis=0) + 1e-9)
preference[(codes > 0).sum(axis=0) < 8] = 0
chosen = [
    output for output in preference.argsort()[::-1][:6] if preference[output]
]
for output in chosen:
    figure, axes = plt.subplots(1, 8, figsize=(6, 0.8), layout="constrained")
    figure.suptitle(f"output {output}", x=0.01, ha="left", fontsize=8)
    best = codes[:, output].argsort()[::-1][:8]
    for axis, index in zip(axes, best, strict=True):
        axis.imshow(test_images[index].permute(1, 2, 0))
        axis.axis("off")
    plt.show()

# %% [markdown]
# ## 9. Keep it
#
# The weights in a file, and the code of one image, here the first test image as a file. An image must come in the size and the
# range of values that the network has seen. A program of your own needs the class `Model`, `OUTPUTS` and `prepare`, too.

# %%
torch.save(model.state_dict(), "rectified_lpjepa.pt")
pixels = test_images[0].permute(1, 2, 0).mul(255).byte().numpy()
Image.fromarray(pixels).save("image.png")

again = Model(OUTPUTS)
again.load_state_dict(torch.load("rectified_lpjepa.pt", weights_only=True))
again.eval()
prepare = v2.Compose(
    [
        v2.RGB(),
        v2.Resize((SIZE, SIZE)),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
    ]
)
with torch.no_grad():
    _, code = again(prepare(Image.open("image.png"))[None])
active = code[0].nonzero().flatten()
print(f"{len(active)} of {OUTPUTS} outputs are active.")
print(f"The first of them: {active[:10].tolist()}")

# %% [markdown]
# For a network that is worth keeping use `main_pretrain.py`, on images of your own, too
# ([how](../docs/own_images.md)): its runs are loaded by
# `solo_plugins.load(RUN)`, with preprocessing and sparse codes
# ([how](../docs/using.md)).
