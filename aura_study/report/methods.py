"""Where the study departs from AURA, and what could be wrong with it: the words of the report's page on methods."""

KINDS = (
    "A claim on arithmetic can fail only by a bug; a simulated one is measured without a network, a trained one on the "
    "model, a logged one on somebody else's run or data."
)
"""What the kinds of claims mean."""

DEVIATIONS = (
    (
        "roberta-base, 12 layers × 768, pre-trained",
        "a RoBERTa of 2 layers × 128, from scratch or pre-trained here; all-MiniLM-L6-v2 where scores decide",
        "Cost: many seeds instead of one model. The dynamics of sigma depend on losses and rates only; "
        "scores, and what pre-training there is to lose, are not.",
    ),
    (
        "sigma's rate 5e-5, one run of 12,390 steps",
        "shorter runs at higher rates, with the phantom number stated; AURA's own rates beside them",
        "At AURA's rates nothing collapses (P11). The higher rates show the law, not what happened in AURA.",
    ),
    (
        "weights from softplus, regulariser linear in it",
        "the guide's formula by default, in log sigma; AURA's form wherever its run is the subject",
        "The guide's formula is not the code's. The linear regulariser inflates by one over the root of the presence.",
    ),
    (
        "SST-2 with phrases, 20,000 rows drawn",
        "SST-2's sentence release, 6,920 training rows",
        "The phrases are not among the public files. Sentiment is seen more often per row.",
    ),
    (
        "class weights and label smoothing inside p_t",
        "Lin's focal loss with p_t from the clean softmax",
        "F5 measures the difference; all trainings use the clean form.",
    ),
    (
        "dropout on attention weights in the encoder",
        "in the task heads only, for the tiny preset",
        "It keeps a fused kernel from running on processors. A hub checkpoint keeps its own.",
    ),
    (
        "one seed, no interval",
        "several seeds, paired, with intervals",
        "AURA reports single runs; a difference between two of them is not evidence.",
    ),
)
"""What AURA did, what is done here, and why."""

QUESTIONS = (
    (
        "Did V10.2 also spare an absent task the optimiser's step, or only its gradient?",
        "The published log tells masked from unmasked, but not masked from frozen.",
        "P10",
    ),
    ("On which model, and when in its training, was the share of the effort measured?", "No run is named.", "F2"),
    (
        "Are there logs by step, with losses and presence of each task?",
        "Epochs hide what happens inside an absence.",
        "P11",
    ),
    ("Are there runs with other seeds?", "Differences between single runs cannot be told from chance.", "P9"),
    (
        "Which of the two files has reporting's labels the right way round?",
        "They are inverted between them; one file's meaning is used here throughout.",
        "",
    ),
    ("Which rows of SST-2 with phrases were drawn?", "The phrases are not among the public files.", ""),
)
"""What is still to ask the authors: the question, why it matters, and a claim that waits for it."""

THREATS = (
    (
        "Small models",
        "A large pre-trained encoder has flatter features and smaller learning rates. The law of the return (P6) is "
        "arithmetic and carries over; how much damage follows (P7c, P8, P9) may not.",
    ),
    (
        "Few seeds",
        "A t-interval over five seeds is wide, and two or three give little more than a sign. Where it matters the "
        "verdict is inconclusive, which is not evidence of no effect.",
    ),
    (
        "Short training",
        "Scores are taken long before a real training would end; effects that need epochs to build up, or to heal, "
        "are not seen.",
    ),
    (
        "Who chose the rates",
        "The rates and absences that show a collapse were chosen to show one. The phase diagrams cover the settings in "
        "between, and the tables say where practice lies.",
    ),
    (
        "Rules with hindsight",
        "Some rules were written, or written anew, when first numbers were known: those listed above as fixed at a "
        "later look. Each claim's page says why, with the commit (claims.lock).",
    ),
    (
        "One log",
        "P10 rests on one printed run of fourteen epochs. It tells masked from unmasked, but not masked from frozen.",
    ),
    (
        "Labels",
        "Reporting's labels are inverted between two of AURA's files; the study uses one file's meaning throughout. "
        "Toxicity has about a third of toxic comments, not the guide's 5 %.",
    ),
    (
        "Our own code",
        "The same people wrote losses, theory and measurements. Against that stand three independent routes to each "
        "exact number, comparisons with torch.optim and TorchJD's own code, and an audit that judges our modules too.",
    ),
)
"""What could be wrong, in order of weight."""
