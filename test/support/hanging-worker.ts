/** Stands in for a data path's worker: it neither hears nor says anything, and takes a processor for itself. */
for (;;);
