"""History in SQL: the projector copies the journals here, and what people ask about the past is answered from here."""
