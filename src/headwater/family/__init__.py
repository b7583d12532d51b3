"""A family of models as its reader may see it: drawings, bills of materials, licences."""
