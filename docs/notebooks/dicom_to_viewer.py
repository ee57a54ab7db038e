# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From DICOM to a viewer
#
# A film goes in as DICOM; lungs and report come out as DICOM that a viewer opens. A drawn film stands in for yours.

# %%
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from lungcls.phantom import chest_phantom

phantom = chest_phantom(256, seed=3)
film = Dataset()
film.file_meta = FileMetaDataset()
film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
film.SOPClassUID = ComputedRadiographyImageStorage
film.SOPInstanceUID, film.StudyInstanceUID, film.SeriesInstanceUID = (generate_uid() for _ in range(3))
film.Modality, film.BodyPartExamined, film.PatientOrientation = "CR", "CHEST", ["L", "F"]
film.PatientName, film.PatientID, film.PatientBirthDate, film.PatientSex = "Phantom^A", "P1", "", ""
film.StudyDate, film.StudyTime, film.StudyID, film.AccessionNumber = "20240102", "101112", "1", ""
film.ReferringPhysicianName, film.Manufacturer, film.SeriesNumber, film.InstanceNumber = "", "drawn", 1, 1
film.Rows, film.Columns = phantom.image.shape
film.SamplesPerPixel, film.PhotometricInterpretation, film.PixelRepresentation = 1, "MONOCHROME2", 0
film.BitsAllocated, film.BitsStored, film.HighBit = 16, 12, 11
film.PixelData = np.rint(phantom.image * 4095).astype(np.uint16).tobytes()
pydicom.dcmwrite("film.dcm", film, enforce_file_format=True)

# %% [markdown]
# ## One command: segmentation, report, outlines, picture

# %%
# !lungcls predict film.dcm -o out --dicom seg,sr,gsps,sc

# %%
from pathlib import Path

objects = sorted(Path("out").rglob("*.dcm"))
for path in objects:
    data = pydicom.dcmread(path)
    print(path.name, data.SOPClassUID.name)

# %% [markdown]
# ## What is in them
#
# Each lung is a segment with its code, on the patient's own side; study and patient are the film's, letter for letter.

# %%
import highdicom

seg = highdicom.seg.segread(next(path for path in objects if ".seg." in path.name))
for number in seg.segment_numbers:
    print(number, seg.get_segment_description(number).segment_label)
print(seg.StudyInstanceUID == film.StudyInstanceUID, seg.PatientID == film.PatientID)

# %% [markdown]
# The secondary capture shows in every viewer:

# %%
from PIL import Image

Image.fromarray(pydicom.dcmread(next(path for path in objects if ".sc." in path.name)).pixel_array)

# %% [markdown]
# ## Into a PACS
#
# ```sh
# lungcls dicom push http://127.0.0.1:8042/dicom-web out/dicom
# lungcls dicom serve --help      # a node that answers films as they arrive
# ```
#
# Viewers that were tried, and what each wants: [results in a PACS](../pacs.md).
