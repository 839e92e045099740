"""Show an experiment as a page of HTML that opens from disk: pictures side by side, tables, charts, failures; decision 51."""
