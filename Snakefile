from snakemake.utils import min_version

min_version("9.0")

# The demo, unless the command line names another file. (Snakemake would otherwise lay that file
# over the demo's settings, and what it leaves out would come from there.)
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/dataset.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/sparsity.smk"
include: "workflow/rules/deploy.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/compare.smk"


# Better now than after hours of training. (On a cluster the machine that submits need not have a GPU.)
onstart:
    if not workflow.local_exec:
        see_cluster()
    elif not workflow.deployment_settings.deployment_method:
        see_doctor()


rule all:
    default_target: True
    input:
        table=rules.compare.output.table,
        page=rules.report.output.page,
        accepted=rules.accept.output.accepted if CONFIG.accept.max_top1_drop is not None else [],
