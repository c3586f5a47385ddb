# The workflow lies in the folder workflow, where other workflows look for one to import. This file is
# for whoever types snakemake in the repository's top folder.
include: "workflow/Snakefile"


workflow.default_target = "all"  # an included file cannot set it
