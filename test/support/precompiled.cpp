// Empty: the translation unit that precompiled headers shared by the test programs hang on.
