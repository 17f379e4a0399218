"""How published networks were trained, as configurations."""

from typing import NamedTuple

from jaxcnn.training.config import TrainConfig


class Recipe(NamedTuple):
    """A published configuration.

    Args:
      config: the configuration.
      network: the network that was trained with it.
      source: the paper.
    """

    config: TrainConfig
    network: str
    source: str


RECIPES: dict[str, Recipe] = {
    "lenet1998": Recipe(
        TrainConfig(epochs=20, batch_size=64, optimizer="adamw", learning_rate=2e-3, weight_decay=1e-2),
        "lenet5_1998 or lenet5 on MNIST",
        "LeCun et al. 1998, section III: 20 passes; AdamW in place of its diagonal Levenberg-Marquardt step sizes",
    ),
    "krizhevsky2012": Recipe(
        TrainConfig(
            epochs=90,
            batch_size=128,
            optimizer="sgd",
            learning_rate=0.01,
            nesterov=False,
            weight_decay=5e-4,
            decay_all=True,
            schedule="step",
            milestones=(0.33, 0.66, 0.9),
            augment=("crop=224", "flip"),
        ),
        "alexnet on ImageNet, pictures of 256x256",
        "Krizhevsky et al. 2012, sections 4 and 5; three falls at set times, in place of when validation stood still",
    ),
    "he2015-cifar": Recipe(
        TrainConfig(
            epochs=164,
            batch_size=128,
            optimizer="sgd",
            learning_rate=0.1,
            nesterov=False,
            weight_decay=1e-4,
            decay_all=True,
            schedule="step",
            milestones=(0.5, 0.75),
            augment=("pad_crop=4", "flip"),
        ),
        "resnet20 to resnet110 and plain20 to plain110 on CIFAR-10",
        "He et al. 2015, section 4.2: 64,000 steps, a tenth at 32,000 and at 48,000",
    ),
    "flax-imagenet": Recipe(
        TrainConfig(
            epochs=100,
            batch_size=128,
            optimizer="sgd",
            learning_rate=0.05,
            warmup_epochs=5,
            weight_decay=1e-4,
            augment=("random_resized_crop=224", "flip"),
        ),
        "resnet50 on ImageNet, pictures of 256x256",
        "Flax's ImageNet example: 0.1 for 256 examples, 5 epochs of warm-up (Goyal et al. 2017), cosine",
    ),
    "airbench": Recipe(
        TrainConfig(
            epochs=10,
            batch_size=1024,
            optimizer="sgd",
            learning_rate=1.5,
            momentum=0.85,
            weight_decay=1.3e-3,
            schedule="one_cycle",
            label_smoothing=0.2,
            augment=("alternating_flip", "pad_crop=2,reflect"),
            ema_decay=0.95,
        ),
        "small networks on CIFAR-10; evaluate with views=flip_shift",
        "Jordan 2024, airbench94: step sizes for a mean loss; a moving average in place of Lookahead",
    ),
}
