"""How results are shown: Markdown tables, HTML pages from templates, and drawings."""
