"""From labelled traffic to a model file and its report. Needs `pip install 'hydragate[train]'`.

Nothing that serves imports this.
"""
