"""The web demo's parts: what it keeps, works out, says and shows. ``semdepth.apps.demo`` starts it."""
