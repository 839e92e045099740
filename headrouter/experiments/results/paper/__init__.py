"""Write tables and figures made for papers: LaTeX with booktabs, and vector figures of a column's width."""
