"""What evaluation, ablation, reports and the audit of models share: films, answers, comparisons, origin."""
