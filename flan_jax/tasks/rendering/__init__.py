"""Parts of rendering: slots of a record, filling of templates, solved examples, spans of a prompt."""
