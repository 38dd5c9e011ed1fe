package wire

// Held reports whether the connection's reader is held back.
func Held(w *Worker) bool { return w.budget.held() }
