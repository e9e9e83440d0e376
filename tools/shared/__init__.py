"""Parts that several verbs share: options, tables, JSON, the live view and the summary of a run."""
