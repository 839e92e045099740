"""What only an accelerator can say: its kernels, offloading, and models of the released sizes."""
