"""The records that coordinators write to internal topics, and other messages that stand inside records.

All of them begin on disk with an int16 and go on with a body in the ordinary encoding; :mod:`.framing` holds that convention.
"""
