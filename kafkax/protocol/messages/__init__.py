"""One module per API: its request, its response, and their structs under Kafka's names.

A struct that means different things in the request and in the response carries the message's name in front
(``AlterPartitionRequestTopicData``).  :data:`kafkax.protocol.api.API_KEYS` finds the classes by API key.
"""
