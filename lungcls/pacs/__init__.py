"""Results in the formats of hospitals and of research: DICOM objects, a DICOM node, DICOMweb."""
