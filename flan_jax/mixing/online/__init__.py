"""Methods that learn a mixture's weights while a run trains."""
