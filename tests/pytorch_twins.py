"""Networks in PyTorch whose `state_dict` has torchvision's names, written after its documentation; for tests alone."""

import torch
from torch import nn
from torch.nn import functional as F


class LeNet(nn.Module):
    """The network of PyTorch's tutorials; with `padding=2` for digits of 28x28."""

    def __init__(self, num_classes=10, channels=3, padding=0):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 6, 5, padding=padding)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class AlexNet(nn.Module):
    """torchvision's AlexNet; `hidden` narrows its dense layers."""

    def __init__(self, num_classes=1000, hidden=4096):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(),
            nn.Linear(256 * 36, hidden),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def vgg_features(depth, batch_norm):
    """The convolutions of torchvision's and timm's VGG."""
    counts = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}[depth]
    parts, features = [], 3
    for count, width in zip(counts, (64, 128, 256, 512, 512), strict=True):
        for _ in range(count):
            parts.append(nn.Conv2d(features, width, 3, padding=1))
            parts += [nn.BatchNorm2d(width)] * batch_norm + [nn.ReLU()]
            features = width
        parts.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*parts)


class TimmVGG(nn.Module):
    """timm's VGG, whose dense layers are convolutions."""

    def __init__(self, num_classes=1000, hidden=4096, batch_norm=True, depth=11):
        super().__init__()
        self.features = vgg_features(depth, batch_norm)
        self.pre_logits, self.head = nn.Module(), nn.Module()
        self.pre_logits.fc1, self.pre_logits.fc2 = nn.Conv2d(512, hidden, 7), nn.Conv2d(hidden, hidden, 1)
        self.head.fc = nn.Linear(hidden, num_classes)

    def forward(self, x):
        x = self.features(x)
        x = F.adaptive_avg_pool2d(x, (7, 7)) if min(x.shape[2:]) < 7 else x
        x = F.relu(self.pre_logits.fc2(F.relu(self.pre_logits.fc1(x))))
        return self.head.fc(x.mean((2, 3)))


class VGG(nn.Module):
    """torchvision's VGG, with or without batch normalization."""

    def __init__(self, num_classes=1000, hidden=4096, batch_norm=True, depth=11):
        super().__init__()
        self.features = vgg_features(depth, batch_norm)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 49, hidden),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class BasicConv2d(nn.Module):
    def __init__(self, i, o, **options):
        super().__init__()
        self.conv = nn.Conv2d(i, o, bias=False, **options)
        self.bn = nn.BatchNorm2d(o, eps=0.001)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    def __init__(self, i, one, reduce3, three, reduce5, five, projection):
        super().__init__()
        self.branch1 = BasicConv2d(i, one, kernel_size=1)
        self.branch2 = nn.Sequential(
            BasicConv2d(i, reduce3, kernel_size=1), BasicConv2d(reduce3, three, kernel_size=3, padding=1)
        )
        self.branch3 = nn.Sequential(
            BasicConv2d(i, reduce5, kernel_size=1), BasicConv2d(reduce5, five, kernel_size=3, padding=1)
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True), BasicConv2d(i, projection, kernel_size=1)
        )

    def forward(self, x):
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class InceptionAux(nn.Module):
    def __init__(self, i, num_classes):
        super().__init__()
        self.conv = BasicConv2d(i, 128, kernel_size=1)
        self.fc1 = nn.Linear(2048, 1024)
        self.fc2 = nn.Linear(1024, num_classes)

    def forward(self, x):
        x = torch.flatten(self.conv(F.adaptive_avg_pool2d(x, (4, 4))), 1)
        return self.fc2(F.dropout(F.relu(self.fc1(x)), 0.7, training=self.training))


class GoogLeNet(nn.Module):
    """torchvision's GoogLeNet with its auxiliary heads."""

    def __init__(self, num_classes=1000):
        super().__init__()
        self.conv1 = BasicConv2d(3, 64, kernel_size=7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = BasicConv2d(64, 64, kernel_size=1)
        self.conv3 = BasicConv2d(64, 192, kernel_size=3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception3a = Inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = Inception(256, 128, 128, 192, 32, 96, 64)
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception4a = Inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = Inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = Inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = Inception(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = Inception(528, 256, 160, 320, 32, 128, 128)
        self.maxpool4 = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.inception5a = Inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = Inception(832, 384, 192, 384, 48, 128, 128)
        self.aux1 = InceptionAux(512, num_classes)
        self.aux2 = InceptionAux(528, num_classes)
        self.fc = nn.Linear(1024, num_classes)

    def forward(self, x, aids=False):
        x = self.maxpool1(self.conv1(x))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        x = first = self.inception4a(x)
        x = second = self.inception4d(self.inception4c(self.inception4b(x)))
        x = self.maxpool4(self.inception4e(x))
        x = self.fc(self.inception5b(self.inception5a(x)).mean((2, 3)))
        return (x, self.aux1(first), self.aux2(second)) if aids else x


class Block(nn.Module):
    """torchvision's BasicBlock and Bottleneck, and the blocks of ResNets for CIFAR."""

    def __init__(self, i, width, stride, *, bottleneck, name, option):
        super().__init__()
        out = 4 * width if bottleneck else width
        plan = [(i, width, 1, 1), (width, width, 3, stride), (width, out, 1, 1)]
        plan = plan if bottleneck else [(i, width, 3, stride), (width, width, 3, 1)]
        self.count, self.name, self.extra, self.option = len(plan), name, out - i, option
        for number, (a, b, k, s) in enumerate(plan, start=1):
            setattr(self, f"conv{number}", nn.Conv2d(a, b, k, s, k // 2, bias=False))
            setattr(self, f"bn{number}", nn.BatchNorm2d(b))
        self.stride, changes = stride, stride > 1 or i != out
        parts = nn.Sequential(nn.Conv2d(i, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        setattr(self, name, parts if changes and option == "B" else None)

    def forward(self, inputs):
        x = inputs
        for number in range(1, self.count + 1):
            x = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(x))
            x = x if number == self.count else F.relu(x)
        project = getattr(self, self.name)
        if project is not None:
            inputs = project(inputs)
        elif self.extra:
            half = self.extra // 2
            inputs = F.pad(inputs[:, :, ::2, ::2], (0, 0, 0, 0, half, half))
        return F.relu(x + inputs)


class _Residual(nn.Module):
    def _grow(self, stem, counts, widths, num_classes, head, **options):
        features = stem
        for stage, (count, width) in enumerate(zip(counts, widths, strict=True), start=1):
            blocks = []
            for place in range(count):
                blocks.append(Block(features, width, 2 if stage > 1 and not place else 1, **options))
                features = 4 * width if options["bottleneck"] else width
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.stages, self.head = len(counts), head
        setattr(self, head, nn.Linear(features, num_classes))

    def _finish(self, x):
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
        return getattr(self, self.head)(x.mean((2, 3)))


class ResNet(_Residual):
    """torchvision's and timm's ResNets."""

    def __init__(self, depth, num_classes=1000):
        super().__init__()
        counts = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}[depth]
        bottleneck = depth >= 50
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        widths = (64, 128, 256, 512)
        self._grow(64, counts, widths, num_classes, "fc", bottleneck=bottleneck, name="downsample", option="B")

    def forward(self, x):
        return self._finish(F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1))


class CifarResNet(_Residual):
    """The usual ResNet-20 for CIFAR, its head and shortcuts named as they are in one place or another."""

    def __init__(self, num_classes=10, *, head="linear", name="shortcut", option="A"):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self._grow(16, (3, 3, 3), (16, 32, 64), num_classes, head, bottleneck=False, name=name, option=option)

    def forward(self, x):
        return self._finish(F.relu(self.bn1(self.conv1(x))))


def randomized(twin, seed=0):
    """The twin in evaluation mode, with statistics, scales and biases away from where they start."""
    generator = torch.Generator().manual_seed(seed)
    for module in twin.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.5, 1.5),
                (module.weight.data, 0.5, 1.0),
                (module.bias.data, -0.3, 0.3),
            ):
                tensor.uniform_(low, high, generator=generator)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            module.weight.data.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.data.uniform_(-0.3, 0.3, generator=generator)
    return twin.eval()
