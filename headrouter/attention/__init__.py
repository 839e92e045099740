"""One attention event, its token layout, the rows it belongs to, and kernels."""
