"""Committed offsets as they stand in ``__consumer_offsets``, read by the million while a coordinator loads."""

from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_SET_ITEM

cdef extern from "Python.h":
    object PyType_GenericAlloc(type kind, Py_ssize_t items)
    void PyObject_GC_UnTrack(void *made)


cdef inline void put(object into, Py_ssize_t at, object item):
    Py_INCREF(item)
    PyTuple_SET_ITEM(into, at, item)


cdef inline object committed_offset(type make, object offset, object epoch, object metadata, object timestamp, object expiry,
                                    object topic_id):
    """An instance of ``make``, a class of tuples with these six fields, made where it stays: there may be millions."""
    cdef object made = PyType_GenericAlloc(make, 6)
    put(made, 0, offset)
    put(made, 1, epoch)
    put(made, 2, metadata)
    put(made, 3, timestamp)
    put(made, 4, expiry)
    put(made, 5, topic_id)
    # numbers, texts and an id: nothing that could ever be part of a cycle
    PyObject_GC_UnTrack(<void *>made)
    return made
