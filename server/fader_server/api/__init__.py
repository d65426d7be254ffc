"""The protocols: each module decodes, authorises, calls and encodes for one of them. Nothing else imports
this room."""
