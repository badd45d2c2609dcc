"""Aborted-transaction index; reached through ``Log.aborted_transactions``."""
