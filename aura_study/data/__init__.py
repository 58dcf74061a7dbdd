"""Labelled texts of the four tasks, their tokens, and the batches that a presence schedule draws from them.

The way through: `registry.load_corpus` -> `tokenization.corpus_tokenizer` (or `encoders.encoder_folder` ->
`tokenization.pretrained_tokenizer`) -> `tokenization.tokenize_splits` -> a schedule (`schedules.mixed`, `stretch`,
`alternating`) -> `batches.Batches`, and `batches.dev_batches` for evaluation.
"""
