"""Training: optimizers with the manners of torch.optim. So far it is empty."""

if __name__ != "optsci.optim":
    raise ImportError(f"this folder is the package optsci.optim; `import {__name__}` would make a second copy")
