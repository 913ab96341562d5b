"""One thread: two spinning teams on two cores are slower than one, and sums do not depend on the machine."""

import torch

torch.set_num_threads(1)
