"""What evaluation, ablation, reports and audits share: films, answers, comparisons, provenance."""
