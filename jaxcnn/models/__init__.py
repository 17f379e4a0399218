"""The networks, one paper per file, and their registry."""

from jaxcnn.layers.with_options import with_options
from jaxcnn.models.alexnet import AlexNet
from jaxcnn.models.allcnn import AllCNN
from jaxcnn.models.bn_inception import BNInception
from jaxcnn.models.c3d import C3D
from jaxcnn.models.fcn import FCN
from jaxcnn.models.fully_convolutional import fully_convolutional
from jaxcnn.models.googlenet import GoogLeNet
from jaxcnn.models.imagenet import ILSVRC, Published, Winner
from jaxcnn.models.lecun1989 import LeCun1989
from jaxcnn.models.lenet import LeNet5
from jaxcnn.models.lenet1998 import LeNet5Of1998
from jaxcnn.models.mlp import MLP
from jaxcnn.models.network import Network
from jaxcnn.models.prelu_net import PReLUNet
from jaxcnn.models.registry import CARDS, MODELS, Card, create, options_of
from jaxcnn.models.resnet import CifarResNet, ResNet
from jaxcnn.models.sliding import Sliding
from jaxcnn.models.summary import LayerRow, Summary, summary
from jaxcnn.models.tdnn import TDNN, WideTDNN
from jaxcnn.models.textcnn import TextCNN
from jaxcnn.models.unet import UNet
from jaxcnn.models.vgg import VGG

__all__ = [
    "AlexNet",
    "AllCNN",
    "BNInception",
    "C3D",
    "CARDS",
    "Card",
    "CifarResNet",
    "FCN",
    "GoogLeNet",
    "ILSVRC",
    "LayerRow",
    "LeCun1989",
    "LeNet5",
    "LeNet5Of1998",
    "MLP",
    "MODELS",
    "Network",
    "PReLUNet",
    "Published",
    "ResNet",
    "Sliding",
    "Summary",
    "TDNN",
    "TextCNN",
    "UNet",
    "VGG",
    "WideTDNN",
    "Winner",
    "create",
    "fully_convolutional",
    "options_of",
    "summary",
    "with_options",
]
