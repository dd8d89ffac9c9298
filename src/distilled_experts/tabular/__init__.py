"""Tables: preprocessing of mixed columns, encoding of targets, training and estimators."""
