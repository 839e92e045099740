"""Read the files of data sets: tables, pictures, masks; collect what is wrong with them."""
