"""Public layouts of weights, one file an author."""

LAYOUTS = {
    "torchvision": "edgeseg.zoo.checkpoints.torchvision:LAYOUTS",
    "wkentaro": "edgeseg.zoo.checkpoints.wkentaro:LAYOUTS",
    "kazuto1011": "edgeseg.zoo.checkpoints.kazuto1011:LAYOUTS",
    "vainf": "edgeseg.zoo.checkpoints.vainf:LAYOUTS",
    "jfzhang95": "edgeseg.zoo.checkpoints.jfzhang95:LAYOUTS",
    "milesial": "edgeseg.zoo.checkpoints.milesial:LAYOUTS",
    "say4n": "edgeseg.zoo.checkpoints.say4n:LAYOUTS",
    "hszhao": "edgeseg.zoo.checkpoints.hszhao:LAYOUTS",
    "encoding": "edgeseg.zoo.checkpoints.encoding:LAYOUTS",
    "ccnet": "edgeseg.zoo.checkpoints.ccnet:LAYOUTS",
    "wangleihitcs": "edgeseg.zoo.checkpoints.wangleihitcs:LAYOUTS",
}
"""Each a module with `LAYOUTS`, a tuple of Layout."""
