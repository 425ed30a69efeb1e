"""What a model is trained for beside the next token: classes, and preferences."""
