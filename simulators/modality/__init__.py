"""A modality that plays the hospital's scanners: makes the demonstration's exams as real DICOM files, sends
them."""

from simulators.modality.exams import Exam, Person, exam_of
from simulators.modality.generate import generate
from simulators.modality.send import send

__all__ = ["Exam", "Person", "exam_of", "generate", "send"]
