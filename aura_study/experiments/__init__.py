"""One module per group of claims: parameters in, tidy tables and measurements out."""

import warnings

# A dependency asks for notebook widgets while it is imported and warns where there are none; the study's progress bars
# are plain text, and the warning would stand in every report.
warnings.filterwarnings("ignore", message="IProgress not found")
