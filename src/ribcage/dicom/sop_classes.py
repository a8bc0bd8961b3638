"""The SOP classes of PS3.6 Annex A that an archive meets: storage, query/retrieve, verification.

Rules, in order:
1. Storage is a closed list. A UID that only looks like a storage class is refused at negotiation (result 3).
2. The list is data: frozen here, not read from a library that may change under us.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from ribcage.dicom.errors import UnsupportedSopClass

APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"  # PS3.7 A.2.1
VERIFICATION: Final = "1.2.840.10008.1.1"
STORAGE_COMMITMENT_PUSH: Final = "1.2.840.10008.1.20.1"
STORAGE_COMMITMENT_INSTANCE: Final = "1.2.840.10008.1.20.1.1"  # well-known, PS3.4 J.3.5
MODALITY_WORKLIST_FIND: Final = "1.2.840.10008.5.1.4.31"
PERFORMED_PROCEDURE_STEP: Final = "1.2.840.10008.3.1.2.3.3"  # MPPS, PS3.4 F

PATIENT_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.1.1"
PATIENT_ROOT_MOVE: Final = "1.2.840.10008.5.1.4.1.2.1.2"
PATIENT_ROOT_GET: Final = "1.2.840.10008.5.1.4.1.2.1.3"
STUDY_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_MOVE: Final = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET: Final = "1.2.840.10008.5.1.4.1.2.2.3"

QUERY_CLASSES: Final = frozenset({PATIENT_ROOT_FIND, STUDY_ROOT_FIND})
GET_CLASSES: Final = frozenset({PATIENT_ROOT_GET, STUDY_ROOT_GET})
MOVE_CLASSES: Final = frozenset({PATIENT_ROOT_MOVE, STUDY_ROOT_MOVE})
WORKLIST_CLASSES: Final = frozenset({MODALITY_WORKLIST_FIND, PERFORMED_PROCEDURE_STEP})
RETRIEVE_CLASSES: Final = GET_CLASSES | MOVE_CLASSES

# UID, retired, name.
_STORAGE_ROWS: Final = (
    ("1.2.840.10008.5.1.1.27", True, "Stored Print Storage"),
    ("1.2.840.10008.5.1.1.29", True, "Hardcopy Grayscale Image Storage"),
    ("1.2.840.10008.5.1.1.30", True, "Hardcopy Color Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.1", False, "Computed Radiography Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.1.1", False, "Digital X-Ray Image Storage - For Presentation"),
    ("1.2.840.10008.5.1.4.1.1.1.1.1", False, "Digital X-Ray Image Storage - For Processing"),
    ("1.2.840.10008.5.1.4.1.1.1.2", False, "Digital Mammography X-Ray Image Storage - For Presentation"),
    ("1.2.840.10008.5.1.4.1.1.1.2.1", False, "Digital Mammography X-Ray Image Storage - For Processing"),
    ("1.2.840.10008.5.1.4.1.1.1.3", False, "Digital Intra-Oral X-Ray Image Storage - For Presentation"),
    ("1.2.840.10008.5.1.4.1.1.1.3.1", False, "Digital Intra-Oral X-Ray Image Storage - For Processing"),
    ("1.2.840.10008.5.1.4.1.1.2", False, "CT Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.2.1", False, "Enhanced CT Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.2.2", False, "Legacy Converted Enhanced CT Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.3", True, "Ultrasound Multi-frame Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.3.1", False, "Ultrasound Multi-frame Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.4", False, "MR Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.4.1", False, "Enhanced MR Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.4.2", False, "MR Spectroscopy Storage"),
    ("1.2.840.10008.5.1.4.1.1.4.3", False, "Enhanced MR Color Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.4.4", False, "Legacy Converted Enhanced MR Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.5", True, "Nuclear Medicine Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.6", True, "Ultrasound Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.6.1", False, "Ultrasound Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.6.2", False, "Enhanced US Volume Storage"),
    ("1.2.840.10008.5.1.4.1.1.6.3", False, "Photoacoustic Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.7", False, "Secondary Capture Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.7.1", False, "Multi-frame Single Bit Secondary Capture Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.7.2", False, "Multi-frame Grayscale Byte Secondary Capture Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.7.3", False, "Multi-frame Grayscale Word Secondary Capture Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.7.4", False, "Multi-frame True Color Secondary Capture Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.8", True, "Standalone Overlay Storage"),
    ("1.2.840.10008.5.1.4.1.1.9", True, "Standalone Curve Storage"),
    ("1.2.840.10008.5.1.4.1.1.9.1", True, "Waveform Storage - Trial"),
    ("1.2.840.10008.5.1.4.1.1.9.1.1", False, "12-lead ECG Waveform Storage"),
    ("1.2.840.10008.5.1.4.1.1.9.1.2", False, "General ECG Waveform Storage"),
    ("1.2.840.10008.5.1.4.1.1.9.1.3", False, "Ambulatory ECG Waveform Storage"),
    ("1.2.840.10008.5.1.4.1.1.9.1.4", False, "General 32-bit ECG Waveform Storage"),
    ("1.2.840.10008.5.1.4.1.1.9.2.1", False, "Hemodynamic Waveform Storage"),
    ("1.2.840.10008.5.1.4.1.1.9.3.1", False, "Cardiac Electrophysiology Waveform Storage"),
    ("1.2.840.10008.5.1.4.1.1.9.4.1", False, "Basic Voice Audio Waveform Storage"),
    ("1.2.840.10008.5.1.4.1.1.9.4.2", False, "General Audio Waveform Storage"),
    ("1.2.840.10008.5.1.4.1.1.9.5.1", False, "Arterial Pulse Waveform Storage"),
    ("1.2.840.10008.5.1.4.1.1.9.6.1", False, "Respiratory Waveform Storage"),
    ("1.2.840.10008.5.1.4.1.1.9.6.2", False, "Multi-channel Respiratory Waveform Storage"),
    ("1.2.840.10008.5.1.4.1.1.9.7.1", False, "Routine Scalp Electroencephalogram Waveform Storage"),
    ("1.2.840.10008.5.1.4.1.1.9.7.2", False, "Electromyogram Waveform Storage"),
    ("1.2.840.10008.5.1.4.1.1.9.7.3", False, "Electrooculogram Waveform Storage"),
    ("1.2.840.10008.5.1.4.1.1.9.7.4", False, "Sleep Electroencephalogram Waveform Storage"),
    ("1.2.840.10008.5.1.4.1.1.9.8.1", False, "Body Position Waveform Storage"),
    ("1.2.840.10008.5.1.4.1.1.10", True, "Standalone Modality LUT Storage"),
    ("1.2.840.10008.5.1.4.1.1.11", True, "Standalone VOI LUT Storage"),
    ("1.2.840.10008.5.1.4.1.1.11.1", False, "Grayscale Softcopy Presentation State Storage"),
    ("1.2.840.10008.5.1.4.1.1.11.2", False, "Color Softcopy Presentation State Storage"),
    ("1.2.840.10008.5.1.4.1.1.11.3", False, "Pseudo-Color Softcopy Presentation State Storage"),
    ("1.2.840.10008.5.1.4.1.1.11.4", False, "Blending Softcopy Presentation State Storage"),
    ("1.2.840.10008.5.1.4.1.1.11.5", False, "XA/XRF Grayscale Softcopy Presentation State Storage"),
    ("1.2.840.10008.5.1.4.1.1.11.6", False, "Grayscale Planar MPR Volumetric Presentation State Storage"),
    ("1.2.840.10008.5.1.4.1.1.11.7", False, "Compositing Planar MPR Volumetric Presentation State Storage"),
    ("1.2.840.10008.5.1.4.1.1.11.8", False, "Advanced Blending Presentation State Storage"),
    ("1.2.840.10008.5.1.4.1.1.11.9", False, "Volume Rendering Volumetric Presentation State Storage"),
    (
        "1.2.840.10008.5.1.4.1.1.11.10",
        False,
        "Segmented Volume Rendering Volumetric Presentation State Storage",
    ),
    (
        "1.2.840.10008.5.1.4.1.1.11.11",
        False,
        "Multiple Volume Rendering Volumetric Presentation State Storage",
    ),
    ("1.2.840.10008.5.1.4.1.1.11.12", False, "Variable Modality LUT Softcopy Presentation State Storage"),
    ("1.2.840.10008.5.1.4.1.1.12.1", False, "X-Ray Angiographic Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.12.1.1", False, "Enhanced XA Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.12.2", False, "X-Ray Radiofluoroscopic Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.12.2.1", False, "Enhanced XRF Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.12.3", True, "X-Ray Angiographic Bi-Plane Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.13.1.1", False, "X-Ray 3D Angiographic Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.13.1.2", False, "X-Ray 3D Craniofacial Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.13.1.3", False, "Breast Tomosynthesis Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.13.1.4", False, "Breast Projection X-Ray Image Storage - For Presentation"),
    ("1.2.840.10008.5.1.4.1.1.13.1.5", False, "Breast Projection X-Ray Image Storage - For Processing"),
    (
        "1.2.840.10008.5.1.4.1.1.14.1",
        False,
        "Intravascular Optical Coherence Tomography Image Storage - For Presentation",
    ),
    (
        "1.2.840.10008.5.1.4.1.1.14.2",
        False,
        "Intravascular Optical Coherence Tomography Image Storage - For Processing",
    ),
    ("1.2.840.10008.5.1.4.1.1.20", False, "Nuclear Medicine Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.30", False, "Parametric Map Storage"),
    ("1.2.840.10008.5.1.4.1.1.66", False, "Raw Data Storage"),
    ("1.2.840.10008.5.1.4.1.1.66.1", False, "Spatial Registration Storage"),
    ("1.2.840.10008.5.1.4.1.1.66.2", False, "Spatial Fiducials Storage"),
    ("1.2.840.10008.5.1.4.1.1.66.3", False, "Deformable Spatial Registration Storage"),
    ("1.2.840.10008.5.1.4.1.1.66.4", False, "Segmentation Storage"),
    ("1.2.840.10008.5.1.4.1.1.66.5", False, "Surface Segmentation Storage"),
    ("1.2.840.10008.5.1.4.1.1.66.6", False, "Tractography Results Storage"),
    ("1.2.840.10008.5.1.4.1.1.66.7", False, "Label Map Segmentation Storage"),
    ("1.2.840.10008.5.1.4.1.1.66.8", False, "Height Map Segmentation Storage"),
    ("1.2.840.10008.5.1.4.1.1.67", False, "Real World Value Mapping Storage"),
    ("1.2.840.10008.5.1.4.1.1.68.1", False, "Surface Scan Mesh Storage"),
    ("1.2.840.10008.5.1.4.1.1.68.2", False, "Surface Scan Point Cloud Storage"),
    ("1.2.840.10008.5.1.4.1.1.77.1", True, "VL Image Storage - Trial"),
    ("1.2.840.10008.5.1.4.1.1.77.1.1", False, "VL Endoscopic Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.77.1.1.1", False, "Video Endoscopic Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.77.1.2", False, "VL Microscopic Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.77.1.2.1", False, "Video Microscopic Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.77.1.3", False, "VL Slide-Coordinates Microscopic Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.77.1.4", False, "VL Photographic Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.77.1.4.1", False, "Video Photographic Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.77.1.5.1", False, "Ophthalmic Photography 8 Bit Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.77.1.5.2", False, "Ophthalmic Photography 16 Bit Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.77.1.5.3", False, "Stereometric Relationship Storage"),
    ("1.2.840.10008.5.1.4.1.1.77.1.5.4", False, "Ophthalmic Tomography Image Storage"),
    (
        "1.2.840.10008.5.1.4.1.1.77.1.5.5",
        False,
        "Wide Field Ophthalmic Photography Stereographic Projection Image Storage",
    ),
    (
        "1.2.840.10008.5.1.4.1.1.77.1.5.6",
        False,
        "Wide Field Ophthalmic Photography 3D Coordinates Image Storage",
    ),
    (
        "1.2.840.10008.5.1.4.1.1.77.1.5.7",
        False,
        "Ophthalmic Optical Coherence Tomography En Face Image Storage",
    ),
    (
        "1.2.840.10008.5.1.4.1.1.77.1.5.8",
        False,
        "Ophthalmic Optical Coherence Tomography B-scan Volume Analysis Storage",
    ),
    ("1.2.840.10008.5.1.4.1.1.77.1.6", False, "VL Whole Slide Microscopy Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.77.1.7", False, "Dermoscopic Photography Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.77.1.8", False, "Confocal Microscopy Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.77.1.9", False, "Confocal Microscopy Tiled Pyramidal Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.77.2", True, "VL Multi-frame Image Storage - Trial"),
    ("1.2.840.10008.5.1.4.1.1.78.1", False, "Lensometry Measurements Storage"),
    ("1.2.840.10008.5.1.4.1.1.78.2", False, "Autorefraction Measurements Storage"),
    ("1.2.840.10008.5.1.4.1.1.78.3", False, "Keratometry Measurements Storage"),
    ("1.2.840.10008.5.1.4.1.1.78.4", False, "Subjective Refraction Measurements Storage"),
    ("1.2.840.10008.5.1.4.1.1.78.5", False, "Visual Acuity Measurements Storage"),
    ("1.2.840.10008.5.1.4.1.1.78.6", False, "Spectacle Prescription Report Storage"),
    ("1.2.840.10008.5.1.4.1.1.78.7", False, "Ophthalmic Axial Measurements Storage"),
    ("1.2.840.10008.5.1.4.1.1.78.8", False, "Intraocular Lens Calculations Storage"),
    ("1.2.840.10008.5.1.4.1.1.79.1", False, "Macular Grid Thickness and Volume Report Storage"),
    ("1.2.840.10008.5.1.4.1.1.80.1", False, "Ophthalmic Visual Field Static Perimetry Measurements Storage"),
    ("1.2.840.10008.5.1.4.1.1.81.1", False, "Ophthalmic Thickness Map Storage"),
    ("1.2.840.10008.5.1.4.1.1.82.1", False, "Corneal Topography Map Storage"),
    ("1.2.840.10008.5.1.4.1.1.88.1", True, "Text SR Storage - Trial"),
    ("1.2.840.10008.5.1.4.1.1.88.2", True, "Audio SR Storage - Trial"),
    ("1.2.840.10008.5.1.4.1.1.88.3", True, "Detail SR Storage - Trial"),
    ("1.2.840.10008.5.1.4.1.1.88.4", True, "Comprehensive SR Storage - Trial"),
    ("1.2.840.10008.5.1.4.1.1.88.11", False, "Basic Text SR Storage"),
    ("1.2.840.10008.5.1.4.1.1.88.22", False, "Enhanced SR Storage"),
    ("1.2.840.10008.5.1.4.1.1.88.33", False, "Comprehensive SR Storage"),
    ("1.2.840.10008.5.1.4.1.1.88.34", False, "Comprehensive 3D SR Storage"),
    ("1.2.840.10008.5.1.4.1.1.88.35", False, "Extensible SR Storage"),
    ("1.2.840.10008.5.1.4.1.1.88.40", False, "Procedure Log Storage"),
    ("1.2.840.10008.5.1.4.1.1.88.50", False, "Mammography CAD SR Storage"),
    ("1.2.840.10008.5.1.4.1.1.88.59", False, "Key Object Selection Document Storage"),
    ("1.2.840.10008.5.1.4.1.1.88.65", False, "Chest CAD SR Storage"),
    ("1.2.840.10008.5.1.4.1.1.88.67", False, "X-Ray Radiation Dose SR Storage"),
    ("1.2.840.10008.5.1.4.1.1.88.68", False, "Radiopharmaceutical Radiation Dose SR Storage"),
    ("1.2.840.10008.5.1.4.1.1.88.69", False, "Colon CAD SR Storage"),
    ("1.2.840.10008.5.1.4.1.1.88.70", False, "Implantation Plan SR Storage"),
    ("1.2.840.10008.5.1.4.1.1.88.71", False, "Acquisition Context SR Storage"),
    ("1.2.840.10008.5.1.4.1.1.88.72", False, "Simplified Adult Echo SR Storage"),
    ("1.2.840.10008.5.1.4.1.1.88.73", False, "Patient Radiation Dose SR Storage"),
    ("1.2.840.10008.5.1.4.1.1.88.74", False, "Planned Imaging Agent Administration SR Storage"),
    ("1.2.840.10008.5.1.4.1.1.88.75", False, "Performed Imaging Agent Administration SR Storage"),
    ("1.2.840.10008.5.1.4.1.1.88.76", False, "Enhanced X-Ray Radiation Dose SR Storage"),
    ("1.2.840.10008.5.1.4.1.1.88.77", False, "Waveform Annotation SR Storage"),
    ("1.2.840.10008.5.1.4.1.1.90.1", False, "Content Assessment Results Storage"),
    ("1.2.840.10008.5.1.4.1.1.91.1", False, "Microscopy Bulk Simple Annotations Storage"),
    ("1.2.840.10008.5.1.4.1.1.104.1", False, "Encapsulated PDF Storage"),
    ("1.2.840.10008.5.1.4.1.1.104.2", False, "Encapsulated CDA Storage"),
    ("1.2.840.10008.5.1.4.1.1.104.3", False, "Encapsulated STL Storage"),
    ("1.2.840.10008.5.1.4.1.1.104.4", False, "Encapsulated OBJ Storage"),
    ("1.2.840.10008.5.1.4.1.1.104.5", False, "Encapsulated MTL Storage"),
    ("1.2.840.10008.5.1.4.1.1.128", False, "Positron Emission Tomography Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.128.1", False, "Legacy Converted Enhanced PET Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.129", True, "Standalone PET Curve Storage"),
    ("1.2.840.10008.5.1.4.1.1.130", False, "Enhanced PET Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.131", False, "Basic Structured Display Storage"),
    ("1.2.840.10008.5.1.4.1.1.200.1", False, "CT Defined Procedure Protocol Storage"),
    ("1.2.840.10008.5.1.4.1.1.200.2", False, "CT Performed Procedure Protocol Storage"),
    ("1.2.840.10008.5.1.4.1.1.200.3", False, "Protocol Approval Storage"),
    ("1.2.840.10008.5.1.4.1.1.200.7", False, "XA Defined Procedure Protocol Storage"),
    ("1.2.840.10008.5.1.4.1.1.200.8", False, "XA Performed Procedure Protocol Storage"),
    ("1.2.840.10008.5.1.4.1.1.201.1", False, "Inventory Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.1", False, "RT Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.2", False, "RT Dose Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.3", False, "RT Structure Set Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.4", False, "RT Beams Treatment Record Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.5", False, "RT Plan Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.6", False, "RT Brachy Treatment Record Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.7", False, "RT Treatment Summary Record Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.8", False, "RT Ion Plan Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.9", False, "RT Ion Beams Treatment Record Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.10", False, "RT Physician Intent Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.11", False, "RT Segment Annotation Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.12", False, "RT Radiation Set Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.13", False, "C-Arm Photon-Electron Radiation Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.14", False, "Tomotherapeutic Radiation Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.15", False, "Robotic-Arm Radiation Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.16", False, "RT Radiation Record Set Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.17", False, "RT Radiation Salvage Record Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.18", False, "Tomotherapeutic Radiation Record Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.19", False, "C-Arm Photon-Electron Radiation Record Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.20", False, "Robotic Radiation Record Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.21", False, "RT Radiation Set Delivery Instruction Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.22", False, "RT Treatment Preparation Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.23", False, "Enhanced RT Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.24", False, "Enhanced Continuous RT Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.25", False, "RT Patient Position Acquisition Instruction Storage"),
    ("1.2.840.10008.5.1.4.1.1.501.1", False, "DICOS CT Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.501.2.1", False, "DICOS Digital X-Ray Image Storage - For Presentation"),
    ("1.2.840.10008.5.1.4.1.1.501.2.2", False, "DICOS Digital X-Ray Image Storage - For Processing"),
    ("1.2.840.10008.5.1.4.1.1.501.3", False, "DICOS Threat Detection Report Storage"),
    ("1.2.840.10008.5.1.4.1.1.501.4", False, "DICOS 2D AIT Storage"),
    ("1.2.840.10008.5.1.4.1.1.501.5", False, "DICOS 3D AIT Storage"),
    ("1.2.840.10008.5.1.4.1.1.501.6", False, "DICOS Quadrupole Resonance (QR) Storage"),
    ("1.2.840.10008.5.1.4.1.1.601.1", False, "Eddy Current Image Storage"),
    ("1.2.840.10008.5.1.4.1.1.601.2", False, "Eddy Current Multi-frame Image Storage"),
    ("1.2.840.10008.5.1.4.34.1", True, "RT Beams Delivery Instruction Storage - Trial"),
    ("1.2.840.10008.5.1.4.34.7", False, "RT Beams Delivery Instruction Storage"),
    ("1.2.840.10008.5.1.4.34.10", False, "RT Brachy Application Setup Delivery Instruction Storage"),
    ("1.2.840.10008.5.1.4.38.1", False, "Hanging Protocol Storage"),
    ("1.2.840.10008.5.1.4.39.1", False, "Color Palette Storage"),
    ("1.2.840.10008.5.1.4.43.1", False, "Generic Implant Template Storage"),
    ("1.2.840.10008.5.1.4.44.1", False, "Implant Assembly Template Storage"),
    ("1.2.840.10008.5.1.4.45.1", False, "Implant Template Group Storage"),
)

STORAGE_CLASSES: Final = MappingProxyType({uid: name for uid, _, name in _STORAGE_ROWS})
RETIRED_STORAGE_CLASSES: Final = frozenset(uid for uid, retired, _ in _STORAGE_ROWS if retired)


def is_storage(uid: str) -> bool:
    """Whether this UID (without padding) is a storage SOP class of PS3.6 Annex A. Permits nothing."""
    return uid in STORAGE_CLASSES


def require_storage(uid: str) -> str:
    """The name of a storage SOP class. Raises UnsupportedSopClass for every other UID."""
    name = STORAGE_CLASSES.get(uid)
    if name is None:
        raise UnsupportedSopClass("expected a storage SOP class of PS3.6 Annex A, got another UID")
    return name
